/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * open. file_open runs after the file is found and before the caller has it,
 * whatever system call or io_uring request asked. Most processes are of no
 * concern to any rule: for them this is one look into task storage.
 */
#ifndef BAILIFF_OPEN_H
#define BAILIFF_OPEN_H

static __always_inline __u32 open_flags(struct file *f)
{
	unsigned int mode = f->f_mode, flags = f->f_flags;

	return (mode & FMODE_READ ? 1 : 0) | (mode & FMODE_WRITE ? 2 : 0) | (flags & O_APPEND ? 4 : 0) |
	       (flags & O_CREAT ? 8 : 0) | (flags & O_TRUNC ? 16 : 0) | (flags & O_EXCL ? 32 : 0) |
	       (flags & O_DIRECTORY ? 64 : 0);
}

static __noinline int open_slow(struct proc *p, struct file *f, int can_refuse)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct judgement j = {};
	struct object_ref o = {};
	__u8 effect = EFFECT_NONE;
	struct dentry *d = f->f_path.dentry;
	struct inode *inode = f->f_inode;

	o.dentry = (__u64)d;
	o.inode = (__u64)inode;
	o.open_flags = open_flags(f);
	if (!judge(&j, t, p, &o, d, inode, HOOK_OPEN) && !settings.all_opens)
		return 0;
	count(COUNT_SEEN_OPEN);
	if (j.blocks && can_refuse) {
		effect = EFFECT_REFUSED;
		count(COUNT_DENIED);
	}
	if (j.blocks && j.kills && !bpf_send_signal(SIGKILL)) {
		if (!can_refuse)
			effect = EFFECT_KILLED;
		count(COUNT_KILLED);
	}
	emit_file(p, &j, &o, HOOK_OPEN, effect);
	return effect == EFFECT_REFUSED ? -EPERM : 0;
}

static __always_inline int open_check(struct file *f, int can_refuse)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct proc *p = current_proc(t);

	if (!p || !(p->flags & PROC_SCOPE) || p->flags & PROC_RESCUE)
		return 0;
	if (!p->vec[HOOK_OPEN - 1].sum && !settings.all_opens && current_vectors(p, t, settings.generation))
		return 0;
	return open_slow(p, f, can_refuse);
}

#endif
