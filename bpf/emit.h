/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records for user space. emit never decides: when the ring is full the record
 * is counted as dropped and the verdict stays what it was.
 */
#ifndef BAILIFF_EMIT_H
#define BAILIFF_EMIT_H

/* Room for a path and what a name may overshoot. */
#define PATH_ROOM (PATH_BYTES + 256)

struct path_record {
	struct record r;
	char data[PATH_ROOM];
};

/* The reader looks by itself every few milliseconds. It is woken for a verdict,
 * but not more often than this (ns), and when much is waiting. */
#define WAKE_EVERY 1000000
static volatile __u64 last_wake;

static __always_inline __u64 wakeup(__u8 verdict, __u64 now)
{
	if (verdict >= VERDICT_ALERT && now - last_wake > WAKE_EVERY) {
		last_wake = now;
		return BPF_RB_FORCE_WAKEUP;
	}
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > 2 << 20 ? BPF_RB_FORCE_WAKEUP
								       : BPF_RB_NO_WAKEUP;
}

static __always_inline void copy_comm(char *to, struct task_struct *t)
{
	*(__u64 *)&to[0] = *(__u64 *)&t->comm[0];
	*(__u64 *)&to[8] = *(__u64 *)&t->comm[8];
}

static __always_inline void fill_subject(struct wire_subject *w, struct task_struct *t,
					 struct proc *p)
{
	const struct cred *c = t->cred;

	w->exec_id = p->exec_id;
	w->parent_exec_id = p->parent_exec_id;
	w->start = p->start;
	w->cgroup = p->cgroup;
	w->exe_id = p->exe_id;
	w->parent_exe_id = p->parent_exe_id;
	w->ancestors = p->ancestors;
	__builtin_memcpy(w->ancestor, p->ancestor, sizeof(w->ancestor));
	w->caps = effective_caps(c);
	w->pid = t->tgid;
	w->tid = t->pid;
	w->ppid = t->real_parent->tgid;
	w->uid = c->uid.val;
	w->euid = c->euid.val;
	w->gid = c->gid.val;
	w->egid = c->egid.val;
	w->loginuid = loginuid_of(t);
	w->tty = tty_of(t);
	w->mnt_ns = t->nsproxy->mnt_ns->ns.inum;
	w->pid_ns = t->nsproxy->pid_ns_for_children->ns.inum;
	w->user_ns = c->user_ns->ns.inum;
	w->pad = 0;
	copy_comm(w->comm, t);
}

static __always_inline void fill_decision(struct record *r, const struct judgement *j)
{
	r->verdict = j->verdict;
	r->source = j->source;
	r->mode = j->mode;
	r->mode_by = j->mode_by;
	r->flags = j->flags;
	r->generation = j->generation;
	r->clause = j->clause;
	r->effect = j->effect;
}

/* A record with one file. d and inode are NULL where the object is known by
 * numbers only, and for fork. */
static __noinline int emit_file(struct proc *p, struct judgement *j, struct object_ref *o,
				struct dentry *d, struct inode *inode)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct path_walk w = {.off = unknown_zero};
	__u32 hook = j->hook;
	struct path_record *e;

	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(COUNT_DROP_EXEC + hook - 1);
		return 0;
	}
	__builtin_memset(&e->r, 0, sizeof(e->r));
	e->r.time = bpf_ktime_get_boot_ns();
	e->r.hook = hook;
	fill_subject(&e->r.subject, t, p);
	fill_decision(&e->r, j);
	e->r.open_flags = o->open_flags;
	if (d && inode) {
		file_facts_near(&e->r.file, d, inode);
		near_path(e->data, &d, &e->r.file.path_len);
		w.off = *(volatile __u16 *)&e->r.file.path_len;
		w.dentry = (__u64)d;
	} else if (o->dentry) {
		file_facts(&e->r.file, (void *)o->dentry, (void *)o->inode);
		w.dentry = o->dentry;
	}
	if (w.dentry) {
		w.buf = e->data;
		bpf_loop(PATH_BYTES / 2, path_step, &w, 0);
		e->r.file.unresolved = w.cut;
		if (w.cut)
			count(COUNT_PATH_CUT);
	}
	e->r.file.path_len = w.off;
	e->r.fork_flags = o->clone_flags;
	e->r.cgroup_procs = o->procs;
	count(COUNT_EXEC + hook - 1);
	bpf_ringbuf_submit(e, wakeup(j->verdict, e->r.time));
	return 0;
}

#endif
