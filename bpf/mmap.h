/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mmap. A file is mapped executable, or a mapping of it is made so: what the
 * loader does with a program and its libraries, and what runs a program without
 * exec (ld.so PROGRAM, dlopen, a preload). Judged by the rules on exec. Attached
 * only while some rule judges it (bpf/more.go).
 */
#ifndef BAILIFF_MMAP_H
#define BAILIFF_MMAP_H

/* A personality in which what can be read can be executed. */
#define READ_IMPLIES_EXEC 0x0400000

/* The file by numbers, so that it is verified by itself. */
__noinline int map_judged(struct object_ref *o)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct task_struct *leader = t->group_leader;
	struct judgement j = {};
	struct proc *p;

	p = leader ? bpf_task_storage_get(&procs, leader, 0, 0) : NULL;
	if (!o || !p || !(p->flags & PROC_SCOPE))
		return 0;
	/* What the kernel maps of a program that it has just judged as an exec. Its
	 * ELF interpreter is not that file. */
	if (p->exec_mm && p->exec_mm == (__u64)t->mm && p->exec_inode == o->inode)
		return 0;
	if (!judge(&j, t, p, o, NULL, NULL, HOOK_MMAP))
		return 0;
	return refuse_far(p, &j, o, HOOK_MMAP);
}

static __always_inline int map_check(struct file *f, unsigned long prot)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct object_ref o = {};
	struct dentry *d;
	bool no_concern;

	if (!settings.generation || is_null(f) ||
	    (!(prot & PROT_EXEC) && !(prot & PROT_READ && t->personality & READ_IMPLIES_EXEC)))
		return 0;
	d = f->f_path.dentry;
	no_concern = known_now(&o, d, f->f_inode, HOOK_EXEC - 1);
	o.rate = 0; /* the rules on execs may ask for it */
	/* That gives it a context, if it had none. */
	if (no_concern || !current_proc(t))
		return 0;
	o.dentry = (__u64)d;
	o.inode = (__u64)f->f_inode;
	return map_judged(&o);
}

static __always_inline int protect_check(struct vm_area_struct *v, unsigned long prot)
{
	return v->vm_flags & VM_EXEC ? 0 : map_check(v->vm_file, prot);
}

#endif
