/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records for user space. emit never decides: when the ring is full the record
 * is counted as dropped and the verdict stays what it was.
 */
#ifndef BAILIFF_EMIT_H
#define BAILIFF_EMIT_H

/* Room for a path and what a name may overshoot. */
#define PATH_ROOM (PATH_BYTES + 256)

/* And of one name with what copying it may overshoot. */
#define NAME_ROOM 264

struct path_record {
	struct record r;
	char data[PATH_ROOM];
};

/* The reader looks by itself every few milliseconds. It is woken for a verdict
 * and when much is waiting, but not more often than this (ns): waking costs more
 * than a quarter of what the record does. */
#define WAKE_EVERY 1000000
static volatile __u64 last_wake;

static __always_inline __u64 wakeup(__u8 verdict, __u64 now)
{
	if (now - last_wake <= WAKE_EVERY ||
	    (verdict < VERDICT_ALERT && bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) <= 2 << 20))
		return BPF_RB_NO_WAKEUP;
	last_wake = now;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void copy_comm(char *to, struct task_struct *t)
{
	*(__u64 *)&to[0] = *(__u64 *)&t->comm[0];
	*(__u64 *)&to[8] = *(__u64 *)&t->comm[8];
}

/* What a record says of the current thread. */
__noinline int fill_thread(struct wire_subject *w)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *c = t->cred;
	struct nsproxy *ns = t->nsproxy;

	if (!w)
		return 0;
	w->caps = effective_caps(c);
	w->pid = t->tgid;
	w->tid = t->pid;
	w->ppid = t->real_parent->tgid;
	w->uid = c->uid.val;
	w->euid = c->euid.val;
	w->gid = c->gid.val;
	w->egid = c->egid.val;
	w->loginuid = loginuid_of(t);
	w->mnt_ns = ns->mnt_ns->ns.inum;
	w->pid_ns = ns->pid_ns_for_children->ns.inum;
	w->user_ns = c->user_ns->ns.inum;
	copy_comm(w->comm, t);
	w->tty = tty_of(t);
	w->traits = process_traits();
	return 0;
}

static __always_inline void fill_subject(struct wire_subject *w, struct proc *p)
{
	w->exec_id = p->exec_id;
	w->parent_exec_id = p->parent_exec_id;
	w->start = p->start;
	w->cgroup = p->cgroup;
	w->exe_id = p->exe_id;
	w->parent_exe_id = p->parent_exe_id;
	w->ancestors = p->ancestors;
	__builtin_memcpy(w->ancestor, p->ancestor, sizeof(w->ancestor));
	fill_thread(w);
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
	r->bindings = j->bindings;
}

/* What all records of acts on one file have. */
static __always_inline void fill_act(struct record *r, struct proc *p, const struct judgement *j,
				     const struct object_ref *o)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->time = bpf_ktime_get_boot_ns();
	r->hook = j->hook;
	fill_subject(&r->subject, p);
	fill_decision(r, j);
	r->open_flags = o->open_flags;
	r->fork_flags = o->clone_flags;
	if (j->hook == HOOK_PTRACE) {
		r->child = o->target;
		r->new_exec_id = o->target_exec;
		return;
	}
	if (j->hook == HOOK_FORK) /* elsewhere it is something else */
		r->cgroup_procs = o->procs;
	if (j->hook != HOOK_OPEN) /* there it is something else */
		r->cgroup_rate = o->rate;
}

struct name_record {
	struct record r;
	char name[NAME_ROOM];
};

/* The record of an open in a directory whose path user space has. False: it has
 * another by now. */
static __always_inline bool emit_named(struct proc *p, struct judgement *j, struct object_ref *o,
				       struct dentry *d, struct inode *inode,
				       const struct seen_at *at)
{
	__u32 number = told_number(at);
	struct name_record *e;

	if (!number)
		return false;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(COUNT_DROP_OPEN);
		return true;
	}
	/* Still the same: then the record that gave the number is before this one. */
	if (told_number(at) != number) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return false;
	}
	fill_act(&e->r, p, j, o);
	file_numbers_near(&e->r.file, d, inode);
	e->r.file_age = o->age ? o->age - 1 : file_age_near(inode, e->r.time);
	e->r.flags |= RECORD_NAME_ONLY;
	e->r.dir_slot = seen_index(at);
	e->r.dir_number = number;
	e->r.file.path_len = put_name(e->name, d);
	count(COUNT_OPEN);
	bpf_ringbuf_submit(e, wakeup(j->verdict, e->r.time));
	return true;
}

static __always_inline void fill_digest(struct record *r, const struct digest *d)
{
	if (!d->known)
		return;
	__builtin_memcpy(r->sha256, d->sum, sizeof(r->sha256));
	r->flags |= RECORD_DIGEST;
}

/* A record with one file. */
static __noinline int emit_file(struct proc *p, struct judgement *j, struct object_ref *o,
				struct dentry *d, struct inode *inode)
{
	__u32 hook = j->hook, cut = 0, number = 0;
	struct path_record *e;
	struct seen_at at;

	if (hook == HOOK_OPEN) {
		seen_place(&at, d->d_parent->d_inode, 0);
		at.known = o->renames != 0;
		at.renames = o->renames;
		if (!at.known)
			seen_renames(&at);
		if (emit_named(p, j, o, d, inode, &at))
			return 0;
		if (at.known && d != d->d_parent && seen_here(d->d_parent->d_inode))
			number = __sync_fetch_and_add(&last_told, 1) + 1;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(COUNT_DROP_EXEC + hook - 1);
		return 0;
	}
	fill_act(&e->r, p, j, o);
	if (hook == HOOK_EXEC) {
		e->r.stdio = stdio_bits();
		fill_digest(&e->r, &p->pending.last_digest);
	}
	file_facts_near(&e->r.file, d, inode);
	e->r.file_age = o->age ? o->age - 1 : file_age_near(inode, e->r.time);
	e->r.file.path_len = copy_path(e->data, d, &cut);
	e->r.file.unresolved = cut;
	if (cut)
		count(COUNT_PATH_CUT);
	else if (number) {
		e->r.dir_slot = seen_index(&at);
		e->r.dir_number = number;
	}
	count(COUNT_EXEC + hook - 1);
	bpf_ringbuf_submit(e, wakeup(j->verdict, e->r.time));
	if (number && !cut)
		tell_dir(&at, number);
	return 0;
}

/* The same where the object is known by numbers only, and for fork. */
static __noinline int emit_far(struct proc *p, struct judgement *j, struct object_ref *o)
{
	__u32 hook = j->hook, cut = 0;
	struct path_record *e;

	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(hook > HOOK_EXIT ? COUNT_DROP_MMAP + hook - HOOK_MMAP
				       : COUNT_DROP_EXEC + hook - 1);
		return 0;
	}
	fill_act(&e->r, p, j, o);
	if (o->dentry) {
		file_facts(&e->r.file, (void *)o->dentry, (void *)o->inode);
		e->r.file_age = o->age ? o->age - 1 : file_age((void *)o->inode, e->r.time);
		e->r.file.path_len = copy_path_far(e->data, o->dentry, &cut);
		e->r.file.unresolved = cut;
		if (cut)
			count(COUNT_PATH_CUT);
	}
	count(hook > HOOK_EXIT ? COUNT_MMAP + hook - HOOK_MMAP : COUNT_EXEC + hook - 1);
	bpf_ringbuf_submit(e, wakeup(j->verdict, e->r.time));
	return 0;
}

/* What follows from a verdict on an act before which it can be refused, of an
 * object that is known by numbers, and the record. */
static __always_inline int refuse_far(struct proc *p, struct judgement *j, struct object_ref *o,
				      __u32 hook)
{
	j->hook = hook;
	if (j->blocks) {
		j->effect = EFFECT_REFUSED;
		count(COUNT_DENIED);
	}
	if (j->blocks && j->kills && !bpf_send_signal(SIGKILL))
		count(COUNT_KILLED);
	emit_far(p, j, o);
	return j->blocks;
}

#endif
