/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* exit: reported when the last thread of a process is gone; never judged. */
#ifndef BAILIFF_EXIT_H
#define BAILIFF_EXIT_H

static __noinline int emit_exit(struct proc *p)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct record *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	int code;

	if (!r) {
		count(COUNT_DROP_EXIT);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->time = bpf_ktime_get_boot_ns();
	r->hook = HOOK_EXIT;
	fill_subject(&r->subject, p);
	code = t->signal->group_exit_code;
	r->exit_code = code ? code : t->exit_code;
	count(COUNT_EXIT);
	bpf_ringbuf_submit(r, wakeup(VERDICT_NONE, r->time));
	return 0;
}

static __always_inline int exit_done(struct task_struct *t)
{
	struct task_struct *leader = t->group_leader;
	__u32 tgid = t->tgid;
	struct proc *p;

	if (!leader)
		return 0;
	p = bpf_task_storage_get(&procs, leader, 0, 0);
	if (!p || !p->exec_id)
		return 0;
	if (t->signal->live.counter > 0) {
		/* The leader goes before its threads: one of them may exec and take its
     * place. */
		if (t->pid == t->tgid) {
			bpf_map_update_elem(&orphans, &tgid, p, BPF_ANY);
			p->flags |= PROC_ORPHANED;
		}
		return 0;
	}
	if (p->flags & PROC_ORPHANED)
		bpf_map_delete_elem(&orphans, &tgid);
	uncount_proc(p);
	if (p->flags & PROC_SCOPE && t->tgid != settings.agent)
		emit_exit(p);
	return 0;
}

#endif
