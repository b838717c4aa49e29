/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fork. task_alloc runs before the new task exists: there a fork is refused.
 * sched_process_fork runs when it exists and before it runs: there it inherits.
 * Threads are not forks.
 */
#ifndef BAILIFF_FORK_H
#define BAILIFF_FORK_H

static __always_inline __u64 procs_in(__u64 cgroup)
{
	struct cgroup_count *n = bpf_map_lookup_elem(&cgroup_procs, &cgroup);

	return n && n->procs > 0 ? n->procs : 0;
}

static __always_inline int fork_check(__u64 clone_flags)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct judgement j = {};
	struct object_ref o = {.clone_flags = clone_flags};
	struct proc *p;

	if (clone_flags & CLONE_THREAD)
		return 0;
	p = current_proc(t);
	if (!p || !(p->flags & PROC_SCOPE))
		return 0;
	o.procs = procs_in(p->cgroup);
	o.rate = cgroup_rate(p->cgroup, HOOK_FORK - 1);
	if (!judge(&j, t, p, &o, NULL, NULL, HOOK_FORK) || !j.blocks)
		return 0; /* what does not block is told when the fork has succeeded */
	count(COUNT_DENIED);
	j.hook = HOOK_FORK;
	j.effect = EFFECT_REFUSED;
	emit_far(p, &j, &o);
	if (j.kills)
		bpf_send_signal(SIGKILL);
	return -EPERM;
}

static __noinline int emit_fork(struct proc *p, struct judgement *j, struct object_ref *o,
				struct proc *c)
{
	struct record *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r) {
		count(COUNT_DROP_FORK);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->time = bpf_ktime_get_boot_ns();
	fill_subject(&r->subject, p);
	fill_decision(r, j);
	r->hook = HOOK_FORK;
	r->child = o->child;
	r->new_exec_id = c->exec_id;
	r->cgroup_procs = o->procs;
	r->cgroup_rate = o->rate;
	count(COUNT_FORK);
	bpf_ringbuf_submit(r, wakeup(j->verdict, r->time));
	return 0;
}

static __always_inline int fork_done(struct task_struct *parent, struct task_struct *child)
{
	struct judgement j = {};
	struct object_ref o = {};
	struct proc *p, *c;

	if (child->pid != child->tgid)
		return 0;
	p = current_proc(parent);
	if (!p)
		return 0; /* of a kernel thread: seeded when it first acts */
	c = bpf_task_storage_get(&procs, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!c) {
		count(COUNT_FAIL_OPEN_CONTEXT);
		return 0;
	}
	o.procs = procs_in(p->cgroup);
	o.rate = cgroup_rate(p->cgroup, HOOK_FORK - 1);
	o.child = child->tgid;
	if (p->flags & PROC_SCOPE) {
		judge(&j, parent, p, &o, NULL, NULL, HOOK_FORK);
		if (j.blocks && !can_refuse && j.kills && !bpf_send_signal(SIGKILL)) {
			j.effect = EFFECT_KILLED;
			count(COUNT_KILLED);
		}
	}
	cgroup_tick(p->cgroup, HOOK_FORK - 1);
	/* What follows is of one image, or is made when it is asked for. */
	__builtin_memcpy(c, p, __builtin_offsetof(struct proc, gen));
	c->exec_id = new_exec_id();
	c->parent_exec_id = p->exec_id;
	c->start = child->start_boottime;
	c->cgroup = cgroup_of(child); /* before ways part: see process_traits */
	c->parent_exe_id = p->exe_id;
	push_ancestor(c, p->exe_id);
	c->flags &= ~(PROC_SEEDED | PROC_COUNTED | PROC_ORPHANED);
	/* Init and the agent are spared themselves, not what they start. */
	if (parent->tgid == 1 || parent->tgid == settings.agent)
		c->flags &= ~PROC_RESCUE;
	take_pass(child);
	if (!(c->flags & PROC_SCOPE) && under_scope(child))
		c->flags |= PROC_SCOPE;
	count_proc(c);
	if (p->flags & PROC_SCOPE)
		emit_fork(p, &j, &o, c);
	return 0;
}

#endif
