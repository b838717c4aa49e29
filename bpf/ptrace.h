/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ptrace. Who may attach to a process can read and write its memory and make it do
 * anything: ptrace, /proc/pid/mem, process_vm_writev and pidfd_getfd all ask.
 * Judged by the rules on open, as an act on the program that the process runs.
 * Attached only while there are such rules (bpf/more.go).
 */
#ifndef BAILIFF_PTRACE_H
#define BAILIFF_PTRACE_H

#define PTRACE_MODE_ATTACH 2

/* Bits of event.TargetTraits. */
#define TARGET_DESCENDANT   1
#define TARGET_OTHER_USER   2
#define TARGET_OTHER_MNT_NS 4

/* Longer chains of parents are taken for no descendants. */
#define MAX_TREE 64

struct tree_walk {
	__u64 task;
	__u32 above; /* tgid */
	__u32 found;
};

static long tree_step(__u64 i, struct tree_walk *w)
{
	struct task_struct *t = (void *)w->task;
	__u32 tgid;

	t = BPF_CORE_READ(t, real_parent);
	tgid = BPF_CORE_READ(t, tgid);
	if (!tgid)
		return 1;
	w->found = tgid == w->above;
	w->task = (__u64)t;
	return w->found;
}

/* Parents as the kernel has them: who lost its parent is nobody's descendant but
 * init's, or a subreaper's. */
__noinline int is_descendant(__u64 task)
{
	struct tree_walk w = {
		.task = task, .above = bpf_get_current_task_btf()->tgid, .found = unknown_zero};

	bpf_loop(MAX_TREE, tree_step, &w, 0);
	return w.found;
}

static __noinline __u32 target_traits(struct task_struct *target)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *mine = t->cred, *theirs = target->real_cred;
	__u32 traits =
		is_descendant((__u64)BPF_CORE_READ(target, group_leader)) ? TARGET_DESCENDANT : 0;

	if (theirs->uid.val != mine->uid.val || theirs->euid.val != mine->euid.val)
		traits |= TARGET_OTHER_USER;
	if (target->nsproxy && t->nsproxy && target->nsproxy->mnt_ns != t->nsproxy->mnt_ns)
		traits |= TARGET_OTHER_MNT_NS;
	return traits;
}

static __always_inline int ptrace_check(struct task_struct *target, __u32 mode)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct task_struct *leader = target->group_leader;
	struct object_ref o = {};
	struct mm_struct *mm = target->mm;
	struct file *exe = mm ? mm->exe_file : NULL;
	struct proc *p;

	if (!settings.generation || !(mode & PTRACE_MODE_ATTACH) || !exe)
		return 0;
	o.dentry = (__u64)exe->f_path.dentry;
	o.inode = (__u64)exe->f_inode;
	if (known_now(&o, exe->f_path.dentry, exe->f_inode, HOOK_OPEN - 1) ||
	    !open_concerns(t, current_proc(t)))
		return 0;
	o.target = target->tgid;
	p = leader ? bpf_task_storage_get(&procs, leader, 0, 0) : NULL;
	o.target_exec = p ? p->exec_id : 0;
	o.target_traits = target_traits(target);
	return change_judged(&o, HOOK_PTRACE, 0);
}

#endif
