/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * open. file_open runs after the file is found and before the caller has it,
 * whatever system call or io_uring request asked. Most processes are of no
 * concern to any rule: for them this is one look into task storage.
 */
#ifndef BAILIFF_OPEN_H
#define BAILIFF_OPEN_H

static __always_inline __u32 flags_of(unsigned int mode, unsigned int flags)
{
	return (mode & FMODE_READ ? 1 : 0) | (mode & FMODE_WRITE ? 2 : 0) |
	       (flags & O_APPEND ? 4 : 0) | (flags & O_CREAT ? 8 : 0) | (flags & O_TRUNC ? 16 : 0) |
	       (flags & O_EXCL ? 32 : 0) | (flags & O_DIRECTORY ? 64 : 0);
}

static __always_inline __u32 open_flags(struct file *f)
{
	return flags_of(f->f_mode, f->f_flags);
}

/* What follows from a verdict, and the record. Where nothing can be refused it is
 * after the call, and the object is known by numbers only. */
static __always_inline int open_judged(struct proc *p, struct judgement *j, struct object_ref *o,
				       struct dentry *d, struct inode *inode, bool refuses)
{
	j->hook = HOOK_OPEN;
	if (j->blocks && refuses) {
		j->effect = EFFECT_REFUSED;
		count(COUNT_DENIED);
	}
	if (j->blocks && j->kills && !bpf_send_signal(SIGKILL)) {
		if (!refuses)
			j->effect = EFFECT_KILLED;
		count(COUNT_KILLED);
	}
	if (refuses)
		emit_file(p, j, o, d, inode);
	else
		emit_far(p, j, o);
	return j->effect == EFFECT_REFUSED ? -EPERM : 0;
}

/* What known_class has not written of o is. */
static __always_inline int open_slow(struct task_struct *t, struct proc *p, struct file *f,
				     struct object_ref *o, struct slot *s)
{
	struct dentry *d = f->f_path.dentry;
	struct inode *inode = f->f_inode;
	struct judgement j = {};

	o->open_flags = open_flags(f);
	o->age = 0;
	o->idents = 0;
	if (!judge_by(&j, t, p, o, d, inode, HOOK_OPEN, s) && !settings.all_opens)
		return 0;
	return open_judged(p, &j, o, d, inode, true);
}

/* Does any rule on opens, or the operator, want to know what this process
 * opens? */
static __always_inline bool open_concerns(struct task_struct *t, struct proc *p)
{
	if (!p || !(p->flags & PROC_SCOPE) || p->flags & PROC_RESCUE)
		return false;
	return ref_of(p, HOOK_OPEN - 1) != VEC_NONE || settings.all_opens ||
	       !current_vector(p, t, settings.generation, HOOK_OPEN - 1, VEC_NONE);
}

/* The process, if somebody wants to know; else it may get a free pass. */
static __always_inline struct proc *open_look(struct task_struct *t)
{
	struct proc *p = current_proc(t);
	__u32 generation = settings.pass;
	volatile struct pass *pass;

	if (open_concerns(t, p))
		return p;
	if (p && generation &&
	    (p->gen[HOOK_OPEN - 1] == generation || !(p->flags & PROC_SCOPE) ||
	     p->flags & PROC_RESCUE)) {
		pass = pass_at(t);
		pass->generation = 0;
		pass->cred = (__u64)t->cred;
		pass->id = pass_id(t);
		pass->generation = generation;
	}
	return NULL;
}

/* Looks up the class of the file's path where that is known without a walk; else it
 * is 0. True: no rule of the package names the file, and all of them name files.
 * Then it does not matter who acts. */
static __always_inline bool known_class(struct object_ref *o, struct dentry *d, struct inode *inode,
					__u32 h, __u32 generation, const struct slot *s)
{
	__u32 class;
	struct dentry *parent = d->d_parent;
	struct seen_at at;

	seen_now(&at, parent->d_inode, generation);
	o->dir = at.dir;
	o->renames = at.renames;
	o->place_of = generation;
	o->place.path = 0;
	o->place.name = 0;
	if (!s || parent == d || (!is_null(inode) && maybe_file(s, inode->i_ino)))
		return false;
	class = seen_class(&at);
	o->place.path = class;
	return class == CLASS_OTHER && s->hook[h].other_empty;
}

/* The same by what is in force. */
static __always_inline bool known_now(struct object_ref *o, struct dentry *d, struct inode *inode,
				      __u32 h)
{
	__u32 generation = settings.generation, index;

	return known_class(o, d, inode, h, generation, slot_of(generation, &index));
}

/* Whoever has a free pass goes through after a few loads. */
static __always_inline int open_check(struct file *f)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *c = t->cred;
	__u32 tgid = t->tgid;
	volatile struct pass *pass = &passes[tgid & (PASSES - 1)];
	__u32 generation = pass->generation, index;
	struct object_ref o;
	struct slot *s;
	struct proc *p;

	if (generation && generation == settings.pass && pass->cred == (__u64)c &&
	    pass->id == ((__u64)tgid << 32 | c->euid.val))
		return 0;
	generation = settings.generation;
	s = slot_of(generation, &index);
	if (known_class(&o, f->f_path.dentry, f->f_inode, HOOK_OPEN - 1, generation, s) &&
	    !settings.all_opens)
		return 0;
	p = open_look(t);
	return p ? open_slow(t, p, f, &o, s) : 0;
}

/* Where no hook can be had: after the system call, by the descriptor it
 * returned. Reported, and the process killed where the rule asks. */
static __always_inline int open_report(long fd)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct proc *p = current_proc(t);
	struct judgement j = {};
	struct object_ref o = {};
	struct file *f, **fds;

	if (fd < 0 || !open_concerns(t, p))
		return 0;
	fds = BPF_CORE_READ(t, files, fdt, fd);
	if (bpf_probe_read_kernel(&f, sizeof(f), fds + fd) || !f)
		return 0;
	o.dentry = (__u64)BPF_CORE_READ(f, f_path.dentry);
	o.inode = (__u64)BPF_CORE_READ(f, f_inode);
	o.open_flags = flags_of(BPF_CORE_READ(f, f_mode), BPF_CORE_READ(f, f_flags));
	if (!o.dentry || !o.inode)
		return 0;
	if (!judge(&j, t, p, &o, NULL, NULL, HOOK_OPEN) && !settings.all_opens)
		return 0;
	open_judged(p, &j, &o, NULL, NULL, false);
	return 0;
}

#endif
