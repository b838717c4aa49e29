/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What changes a file or its name without an open: create (mknod, symlink, and
 * the first half of an open that makes a file), link, rename, unlink, truncate;
 * and what gives a file without one: receive.
 * Judged by the rules on open, as the open for writing would be. The hooks on
 * paths see the calls of programs, not what overlayfs does on their behalf below.
 * Attached only while some rule judges them (bpf/more.go).
 */
#ifndef BAILIFF_CHANGE_H
#define BAILIFF_CHANGE_H

/* Bits of event.OpenFlags. */
#define HOW_READ     1
#define HOW_WRITE    2
#define HOW_CREATE   8
#define HOW_TRUNCATE 16

/* The file by numbers, so that it is verified by itself. quiet: what does not
 * block will be told by another hook. */
__noinline int change_judged(struct object_ref *o, __u32 hook, __u32 quiet)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct task_struct *leader = t->group_leader;
	struct judgement j = {};
	struct proc *p;

	p = leader ? bpf_task_storage_get(&procs, leader, 0, 0) : NULL;
	if (!o || !p || hook < HOOK_CREATE || hook > HOOK_RECEIVE)
		return 0;
	if (!judge(&j, t, p, o, NULL, NULL, hook) || (quiet && !j.blocks))
		return 0;
	return refuse_far(p, &j, o, hook);
}

static __always_inline int change_check(struct dentry *d, __u32 hook, __u32 how, __u32 quiet)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct object_ref o = {.open_flags = how};

	if (!settings.generation || known_now(&o, d, d->d_inode, HOOK_OPEN - 1))
		return 0;
	/* That gives it a context, if it had none. */
	if (!open_concerns(t, current_proc(t)))
		return 0;
	o.dentry = (__u64)d;
	o.inode = (__u64)d->d_inode;
	return change_judged(&o, hook, quiet);
}

/* A regular file: most likely an open makes it, and file_open tells of it. */
static __always_inline int create_check(struct dentry *d, __u32 mode)
{
	__u32 type = mode & S_IFMT;

	return change_check(d, HOOK_CREATE, HOW_WRITE | HOW_CREATE, !type || type == S_IFREG);
}

/* Whoever has another name of a file can read and write it there. */
static __always_inline int link_check(struct dentry *from, struct dentry *to)
{
	return change_check(from, HOOK_LINK, HOW_READ | HOW_WRITE, 0) ||
	       change_check(to, HOOK_LINK, HOW_WRITE | HOW_CREATE, 0);
}

/* The one name goes, the other is made or taken over; or both change places. */
static __always_inline int rename_check(struct dentry *from, struct dentry *to)
{
	return change_check(from, HOOK_RENAME, HOW_WRITE, 0) ||
	       change_check(to, HOOK_RENAME, HOW_WRITE | HOW_CREATE, 0);
}

/* The superblock is the kernel's own: sockets, pipes, memory. No open leads there. */
#define SB_NOUSER 0x80000000

/* A descriptor comes from another process: SCM_RIGHTS, pidfd_getfd, a seccomp
 * supervisor. The caller is who gets it. Judged as the open that gave it. */
static __always_inline int receive_check(struct file *f)
{
	struct dentry *d;

	if (!settings.generation || is_null(f))
		return 0;
	d = f->f_path.dentry;
	if (d->d_sb->s_flags & SB_NOUSER)
		return 0;
	return change_check(d, HOOK_RECEIVE, open_flags(f), 0);
}

#endif
