//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The hooks, in the order in which the kernel calls them. Each backend has its
 * own section names and the same bodies:
 *
 *   lsm              refuses with -EPERM
 *   modify-return    the same, on security_*, where the LSM is not listed
 *   tracepoint       cannot refuse; exec is killed before its first instruction
 *
 * sched_process_{fork,exec,exit} are attached with every backend: they keep the
 * process context.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "wire.h"
#include "fields.h"
#include "maps.h"
#include "seen.h"
#include "walk.h"
#include "files.h"
#include "facts.h"
#include "judgement.h"
#include "vectors.h"
#include "subject.h"
#include "decide.h"
#include "mode.h"
#include "cgroup.h"
#include "verdict.h"
#include "text.h"
#include "given.h"
#include "kept.h"
#include "digest.h"
#include "farpath.h"
#include "waive.h"
#include "conclude.h"
#include "judge.h"
#include "commit.h"
#include "emit.h"
#include "exec.h"
#include "verity.h"
#include "digestask.h"
#include "fork.h"
#include "open.h"
#include "mmap.h"
#include "change.h"
#include "ptrace.h"
#include "exit.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* One line for the section, one for the program. */
/* clang-format off */

/* An earlier program's refusal stands. -EPERM is written out on a branch of its
 * own: the verifier wants to see a constant. */
#define REFUSE_IF(check) do { if (ret) return ret; return (check) ? -EPERM : 0; } while (0)

SEC("lsm/task_alloc")
int BPF_PROG(lsm_fork, struct task_struct *task, unsigned long clone_flags, int ret)
{
	REFUSE_IF(fork_check(clone_flags));
}

SEC("fmod_ret/security_task_alloc")
int BPF_PROG(mod_fork, struct task_struct *task, unsigned long clone_flags, int ret)
{
	REFUSE_IF(fork_check(clone_flags));
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(track_fork, struct task_struct *parent, struct task_struct *child)
{
	return fork_done(parent, child);
}

SEC("lsm/bprm_check_security")
int BPF_PROG(lsm_exec, struct linux_binprm *bprm, int ret)
{
	REFUSE_IF(exec_check(bprm));
}

/* Attached after lsm_exec, and so called before it: first what asks whether the
 * digest is needed, then what computes it. */
SEC("lsm/bprm_check_security")
int BPF_PROG(lsm_digest_ask, struct linux_binprm *bprm, int ret)
{
	if (!ret)
		digest_ask(bprm);
	return ret;
}

SEC("lsm.s/bprm_check_security")
int BPF_PROG(lsm_digest, struct linux_binprm *bprm, int ret)
{
	if (!ret)
		digest_compute(bprm);
	return ret;
}

/* Attached after these, where rules read fs-verity digests. */
SEC("lsm/bprm_check_security")
int BPF_PROG(lsm_verity, struct linux_binprm *bprm, int ret)
{
	if (!ret)
		verity_note(bprm);
	return ret;
}

SEC("fmod_ret/security_bprm_check")
int BPF_PROG(mod_exec, struct linux_binprm *bprm, int ret)
{
	REFUSE_IF(exec_check(bprm));
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(track_exec, struct task_struct *t, int old_pid, struct linux_binprm *bprm)
{
	return exec_done(t, bprm);
}

SEC("lsm/file_open")
int BPF_PROG(lsm_open, struct file *file, int ret)
{
	REFUSE_IF(open_check(file));
}

SEC("fmod_ret/security_file_open")
int BPF_PROG(mod_open, struct file *file, int ret)
{
	REFUSE_IF(open_check(file));
}

SEC("lsm/mmap_file")
int BPF_PROG(lsm_mmap, struct file *file, unsigned long reqprot, unsigned long prot,
	     unsigned long flags, int ret)
{
	REFUSE_IF(map_check(file, prot));
}

SEC("fmod_ret/security_mmap_file")
int BPF_PROG(mod_mmap, struct file *file, unsigned long prot, unsigned long flags, int ret)
{
	REFUSE_IF(map_check(file, prot));
}

SEC("lsm/file_mprotect")
int BPF_PROG(lsm_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot,
	     int ret)
{
	REFUSE_IF(protect_check(vma, prot));
}

SEC("fmod_ret/security_file_mprotect")
int BPF_PROG(mod_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot,
	     int ret)
{
	REFUSE_IF(protect_check(vma, prot));
}

SEC("lsm/path_mknod")
int BPF_PROG(lsm_mknod, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     unsigned int dev, int ret)
{
	REFUSE_IF(create_check(dentry, mode));
}

SEC("fmod_ret/security_path_mknod")
int BPF_PROG(mod_mknod, const struct path *dir, struct dentry *dentry, unsigned short mode,
	     unsigned int dev, int ret)
{
	REFUSE_IF(create_check(dentry, mode));
}

SEC("lsm/path_symlink")
int BPF_PROG(lsm_symlink, const struct path *dir, struct dentry *dentry, const char *old, int ret)
{
	REFUSE_IF(create_check(dentry, S_IFLNK));
}

SEC("fmod_ret/security_path_symlink")
int BPF_PROG(mod_symlink, const struct path *dir, struct dentry *dentry, const char *old, int ret)
{
	REFUSE_IF(create_check(dentry, S_IFLNK));
}

SEC("lsm/path_link")
int BPF_PROG(lsm_link, struct dentry *from, const struct path *dir, struct dentry *to, int ret)
{
	REFUSE_IF(link_check(from, to));
}

SEC("fmod_ret/security_path_link")
int BPF_PROG(mod_link, struct dentry *from, const struct path *dir, struct dentry *to, int ret)
{
	REFUSE_IF(link_check(from, to));
}

SEC("lsm/path_rename")
int BPF_PROG(lsm_rename, const struct path *old_dir, struct dentry *from,
	     const struct path *new_dir, struct dentry *to, unsigned int flags, int ret)
{
	REFUSE_IF(rename_check(from, to));
}

SEC("fmod_ret/security_path_rename")
int BPF_PROG(mod_rename, const struct path *old_dir, struct dentry *from,
	     const struct path *new_dir, struct dentry *to, unsigned int flags, int ret)
{
	REFUSE_IF(rename_check(from, to));
}

SEC("lsm/path_unlink")
int BPF_PROG(lsm_unlink, const struct path *dir, struct dentry *dentry, int ret)
{
	REFUSE_IF(change_check(dentry, HOOK_UNLINK, HOW_WRITE, 0));
}

SEC("fmod_ret/security_path_unlink")
int BPF_PROG(mod_unlink, const struct path *dir, struct dentry *dentry, int ret)
{
	REFUSE_IF(change_check(dentry, HOOK_UNLINK, HOW_WRITE, 0));
}

SEC("lsm/path_truncate")
int BPF_PROG(lsm_truncate, const struct path *path, int ret)
{
	REFUSE_IF(change_check(path->dentry, HOOK_TRUNCATE, HOW_WRITE | HOW_TRUNCATE, 0));
}

SEC("fmod_ret/security_path_truncate")
int BPF_PROG(mod_truncate, const struct path *path, int ret)
{
	REFUSE_IF(change_check(path->dentry, HOOK_TRUNCATE, HOW_WRITE | HOW_TRUNCATE, 0));
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(lsm_ptrace, struct task_struct *child, unsigned int mode, int ret)
{
	REFUSE_IF(ptrace_check(child, mode));
}

SEC("fmod_ret/security_ptrace_access_check")
int BPF_PROG(mod_ptrace, struct task_struct *child, unsigned int mode, int ret)
{
	REFUSE_IF(ptrace_check(child, mode));
}

SEC("lsm/file_receive")
int BPF_PROG(lsm_receive, struct file *file, int ret)
{
	REFUSE_IF(receive_check(file));
}

SEC("fmod_ret/security_file_receive")
int BPF_PROG(mod_receive, struct file *file, int ret)
{
	REFUSE_IF(receive_check(file));
}

/* sys_exit_open, openat, openat2, creat, open_by_handle_at: attached with the
 * tracepoint backend while there are rules on opens. O_CREAT and its like are
 * gone from the flags by then. */
SEC("tracepoint")
int track_open(struct sys_exit *ctx)
{
	return open_report(ctx->ret);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(track_exit, struct task_struct *t)
{
	return exit_done(t);
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(track_mkdir, struct cgroup *c, const char *path)
{
	return cgroup_made(c, path);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(track_rmdir, struct cgroup *c, const char *path)
{
	return cgroup_gone(c);
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(track_move, struct cgroup *to, const char *path, struct task_struct *t, bool all)
{
	return cgroup_moved(to, t);
}

/* Programs that run already when the agent starts. */
SEC("iter/task")
int seed_all(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	struct proc *p;

	if (!t || t->pid != t->tgid || t->flags & PF_KTHREAD)
		return 0;
	p = bpf_task_storage_get(&procs, t, 0, 0);
	if (!p || !p->exec_id)
		seed(t);
	return 0;
}

/* clang-format on */
#include "offhook.h"
