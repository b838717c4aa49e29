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
	struct verity verity; /* exec */
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

/* What a record says of the current thread. Each pointer is read once: the kernel
 * checks the address before each load behind one, in six instructions. */
__noinline int fill_thread(struct wire_subject *w)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *c = t->cred;
	struct nsproxy *ns = t->nsproxy;
	struct mnt_namespace *mnt_ns = ns->mnt_ns;
	struct pid_namespace *pid_ns = ns->pid_ns_for_children;
	struct user_namespace *user_ns = c->user_ns;

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
	w->mnt_ns = mnt_ns->ns.inum;
	w->pid_ns = pid_ns->ns.inum;
	w->user_ns = user_ns->ns.inum;
	copy_comm(w->comm, t);
	w->tty = tty_of(t);
	w->traits = PLACE_TRAITS(mnt_ns, pid_ns, user_ns, (t->fs->root.dentry != init_root()));
	return 0;
}

/* How much of a process and of the record of its acts is the same. */
#define LINEAGE_BYTES __builtin_offsetof(struct wire_subject, caps)
_Static_assert(LINEAGE_BYTES == __builtin_offsetof(struct proc, dropped) &&
		       __builtin_offsetof(struct wire_subject, ancestor) ==
			       __builtin_offsetof(struct proc, ancestor) &&
		       __builtin_offsetof(struct wire_subject, ancestors) ==
			       __builtin_offsetof(struct proc, ancestors),
	       "a subject in a record begins like the process");

static __always_inline void fill_subject(struct wire_subject *w, struct proc *p)
{
	__builtin_memcpy(w, p, LINEAGE_BYTES);
	fill_thread(w);
}

static __always_inline void fill_decision(struct record *r, const struct judgement *j)
{
	__builtin_memcpy(&r->hook, &j->hook, DECISION_BYTES);
	r->bindings = j->bindings;
}

/* What all records of acts on one file have, but for the file. The rest is zero. */
static __always_inline void fill_act(struct record *r, struct proc *p, const struct judgement *j,
				     const struct object_ref *o)
{
	/* What comes before is written whole; what is of execs only they clear. */
	__builtin_memset(&r->new_exec_id, 0,
			 __builtin_offsetof(struct record, args_total) -
				 __builtin_offsetof(struct record, new_exec_id));
	r->time = bpf_ktime_get_boot_ns();
	fill_subject(&r->subject, p);
	fill_decision(r, j);
	r->open_flags = o->open_flags;
	/* What else there is of o depends on the hook. */
	if (j->hook == HOOK_PTRACE) {
		r->fork_flags = o->target_traits;
		r->child = o->target;
		r->new_exec_id = o->target_exec;
	} else if (j->hook == HOOK_FORK) {
		r->fork_flags = o->clone_flags;
		r->cgroup_procs = o->procs;
		r->cgroup_rate = o->rate;
	} else if (j->hook == HOOK_EXEC) {
		r->cgroup_rate = o->rate;
	}
}

struct name_record {
	struct record r;
	char name[NAME_ROOM];
};

/* The record of an open in a directory whose path user space has under a number:
 * the record that gave it is before this one. */
static __always_inline void emit_named(struct proc *p, struct judgement *j, struct object_ref *o,
				       struct dentry *d, struct inode *inode,
				       const struct seen_at *at, __u32 number)
{
	struct name_record *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	struct wire_file *f;

	if (!e) {
		count(COUNT_DROP_OPEN);
		return;
	}
	fill_act(&e->r, p, j, o);
	f = &e->r.file;
	file_numbers_near(f, &at->dir, d->d_parent->d_inode, inode);
	__builtin_memset(f->fs_type, 0, sizeof(f->fs_type));
	f->unresolved = 0;
	f->scratch = 0;
	f->exe_id = 0;
	f->path_len = put_name(e->name, d);
	if (o->age) {
		e->r.file_age = o->age - 1;
		e->r.flags |= RECORD_NAME_ONLY;
	} else {
		e->r.file_age = changed_at_near(inode);
		e->r.flags |= RECORD_NAME_ONLY | RECORD_CHANGED_AT;
	}
	e->r.dir_slot = seen_index(at);
	e->r.dir_number = number;
	count(COUNT_OPEN);
	bpf_ringbuf_submit(e, wakeup(j->verdict, e->r.time));
}

static __always_inline void fill_digest(struct record *r, const struct digest *d)
{
	if (!(d->known & 1 << DIGEST_SHA256))
		return;
	__builtin_memcpy(r->sha256, d->sum, sizeof(r->sha256));
	r->flags |= RECORD_DIGEST;
}

static __always_inline void fill_verity(struct path_record *e, const struct digest *d)
{
	if (!(d->known & 1 << DIGEST_VERITY))
		return;
	e->r.flags |= RECORD_VERITY;
	if (!d->verity.of)
		return;
	__builtin_memcpy(&e->verity, &d->verity, sizeof(e->verity));
	e->r.verity_off = PATH_ROOM;
	e->r.verity_len = sizeof(e->verity);
}

/* A record with one file. */
static __noinline int emit_file(struct proc *p, struct judgement *j, struct object_ref *o,
				struct dentry *d, struct inode *inode)
{
	__u32 hook = j->hook, cut = 0, number = 0;
	struct seen_at at = {.dir = o->dir, .renames = o->renames};
	struct path_record *e;

	if (hook == HOOK_OPEN) {
		number = told_number(&at);
		if (number) {
			emit_named(p, j, o, d, inode, &at, number);
			return 0;
		}
		if (!(at.renames & 1) && d != d->d_parent && seen_here(d->d_parent->d_inode))
			number = __sync_fetch_and_add(&last_told, 1) + 1;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(COUNT_DROP_EXEC + hook - 1);
		return 0;
	}
	__builtin_memset(&e->r.file, 0, sizeof(e->r.file));
	fill_act(&e->r, p, j, o);
	if (hook == HOOK_EXEC) {
		__builtin_memset(&e->r.args_total, 0,
				 sizeof(e->r) - __builtin_offsetof(struct record, args_total));
		e->r.stdio = stdio_bits();
		if (p->pending.last_digest.known) {
			fill_digest(&e->r, &p->pending.last_digest);
			fill_verity(e, &p->pending.last_digest);
		}
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
	__builtin_memset(&e->r.file, 0, sizeof(e->r.file));
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
