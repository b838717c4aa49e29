/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of a process, in task storage of its thread group's leader:
 * taken at fork and exec, never from comm, /proc or a pid.
 */
#ifndef BAILIFF_SUBJECT_H
#define BAILIFF_SUBJECT_H

#define PROC_SCOPE    1	 /* in scope; stays so whatever cgroup it moves to */
#define PROC_RESCUE   2	 /* never denied */
#define PROC_SEEDED   4	 /* was there before the agent: program taken from mm->exe_file */
#define PROC_COUNTED  8	 /* counted in cgroup_procs */
#define PROC_ORPHANED 16 /* a copy is in orphans */

/*
 * What the tables said of an open by this process: the same for each file of this
 * class, as long as the vectors are the same. Threads may write it at once; check
 * is over all words with a secret, so that a mixture fits nothing.
 */
struct kept {
	__u64 place;   /* class of the path << 32 | class of the name */
	__u64 clauses; /* first << 32 | maybe */
	__u64 check;
};

struct proc {
	__u64 exec_id; /* up to ancestor: as in struct wire_subject */
	__u64 parent_exec_id;
	__u64 start;
	__u64 cgroup;
	__u32 exe_id;
	__u32 parent_exe_id;
	__u32 ancestors;
	__u32 flags;
	__u32 ancestor[MAX_ANCESTORS];
	__u64 dropped; /* tests met by ancestors that no longer fit, in generation
                    dropped_gen */
	__u32 dropped_gen;
	__u32 pad;
	struct exe_class class; /* of the program, in generation class_gen */
	__u32 class_gen;
	/* The vectors of the subject that are at ref are of generation gen, for these
	 * credentials. */
	__u32 gen[NUM_JUDGED];
	__u32 uid, euid, gid, egid;
	__u32 user_ns; /* number of the namespace */
	__u64 caps;
	__u64 cred;	       /* address, to compare; others may come to lie there */
	__u64 ref[NUM_JUDGED]; /* to the vectors */
	__u64 tie[NUM_JUDGED]; /* each of them ^ cred: whose credentials it was made for */
	struct kept kept;
	/* Addresses, to compare: of the memory that an exec prepares and of the file
	 * that is judged for it; see mmap.h. */
	__u64 exec_mm, exec_inode;
	struct pending pending;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct proc);
} procs SEC(".maps");

/* A process whose leader has gone while a thread execs: the thread takes over
 * the pid but not the leader's storage. Written at exit, taken at exec. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct proc);
} orphans SEC(".maps");

static const struct proc no_proc;
static const struct cgroup_count no_count;

static __always_inline __u64 new_exec_id(void)
{
	return bpf_ktime_get_boot_ns() << 8 | (bpf_get_smp_processor_id() & 0xff);
}

static __always_inline __u64 ref_of(const struct proc *p, __u32 h)
{
	return *(volatile const __u64 *)&p->ref[h];
}

/* The vectors are made anew when they are asked for. */
static __always_inline void forget_vectors(struct proc *p)
{
	for (int i = 0; i < NUM_JUDGED; i++)
		p->gen[i] = 0;
}

/* The free pass of this process, if it has one, lies here. Thread group and
 * credentials are compared whole; should two writers mix their entries, nobody
 * has both halves. A new image and a new process take away what an earlier one
 * may have left; rules that read more of the credentials make passes unused. */
static __always_inline volatile struct pass *pass_at(struct task_struct *t)
{
	return &passes[(__u32)t->tgid & (PASSES - 1)];
}

static __always_inline __u64 pass_id(struct task_struct *t)
{
	return (__u64)(__u32)t->tgid << 32 | t->cred->euid.val;
}

static __always_inline void take_pass(struct task_struct *t)
{
	pass_at(t)->generation = 0;
}

static __always_inline __u64 effective_caps(const struct cred *c)
{
	if (bpf_core_field_exists(struct cred___old, cap_effective.cap)) {
		const struct cred___old *o = (const void *)c;

		return (__u64)o->cap_effective.cap[1] << 32 | o->cap_effective.cap[0];
	}
	return c->cap_effective.val;
}

static __always_inline __u32 loginuid_of(struct task_struct *t)
{
	return bpf_core_field_exists(t->loginuid) ? t->loginuid.val : 0xffffffff;
}

static __always_inline __u32 tty_of(struct task_struct *t)
{
	struct tty_struct *tty = t->signal->tty;
	__u32 minor;

	if (!tty)
		return 0;
	minor = tty->driver->minor_start + tty->index;
	return (minor & 0xff) | (__u32)tty->driver->major << 8 | (minor & ~0xffU) << 12;
}

static __always_inline struct cgroup *cgroup_at(struct task_struct *t)
{
	return BPF_CORE_READ(t, cgroups, dfl_cgrp);
}

static __always_inline __u64 cgroup_of(struct task_struct *t)
{
	return t->cgroups->dfl_cgrp->kn->id;
}

/* Is this cgroup one of the scope, or below one? */
__noinline int in_scope(__u64 cgroup)
{
	struct cgroup *c = (void *)cgroup;
	int level = BPF_CORE_READ(c, level);

	for (int i = 0; i < MAX_SCOPES; i++) {
		struct cgroup *above;
		__u32 at;

		if (i >= settings.scopes)
			break;
		at = settings.scope[i].level;
		if (at > level)
			continue;
		bpf_probe_read_kernel(&above, sizeof(above), &c->ancestors[at & 0xff]);
		if (BPF_CORE_READ(above, kn, id) == settings.scope[i].cgroup)
			return 1;
	}
	return 0;
}

/* Is the task below one of the scope's cgroups now? */
static __always_inline bool under_scope(struct task_struct *t)
{
	return !settings.scopes || in_scope((__u64)cgroup_at(t));
}

static __always_inline struct slot *slot_of(__u32 generation, __u32 *index)
{
	struct slot *s;

	if (!generation)
		return NULL;
	*index = generation % NUM_SLOTS;
	s = bpf_map_lookup_elem(&slots, index);
	return s && s->generation == generation ? s : NULL;
}

/* Writes down what class a program has, for the generations that will ask. path is
 * that of its path, 0 if it has not been looked up. */
static __always_inline void classify_exe(__u32 exe_id, struct dentry *d, struct inode *inode,
					 __u32 generation, struct exe_class *out, __u32 path)
{
	struct exe_class c = {}, *known;
	struct slot *s;
	__u32 index;
	void *map;

	s = slot_of(generation, &index);
	if (!s)
		return;
	c.path = path ? path : path_class(d, inode, s, index);
	c.name = s->uses_names ? place_name(c.path, d, index) : CLASS_WHOLE;
	*out = c;
	map = bpf_map_lookup_elem(&exe_classes, &index);
	if (!map || !exe_id)
		return;
	known = bpf_map_lookup_elem(map, &exe_id);
	if (!known || known->path != c.path || known->name != c.name)
		bpf_map_update_elem(map, &exe_id, &c, BPF_ANY);
}

static __always_inline bool is_rescue(struct task_struct *t, struct inode *inode)
{
	struct file_id id;

	if (t->tgid == 1 || t->tgid == settings.agent)
		return true;
	if (!inode)
		return false;
	id_of(&id, inode);
	return bpf_map_lookup_elem(&rescue, &id) != NULL;
}

static __always_inline void count_proc(struct proc *p)
{
	struct cgroup_count *n = bpf_map_lookup_elem(&cgroup_procs, &p->cgroup);

	if (!n) {
		/* Another CPU may be doing the same: whoever comes second adds to it. */
		bpf_map_update_elem(&cgroup_procs, &p->cgroup, &no_count, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&cgroup_procs, &p->cgroup);
	}
	if (!n)
		return; /* table full: rules on this cgroup's count do not hold */
	p->flags |= PROC_COUNTED;
	__sync_fetch_and_add(&n->procs, 1);
}

static __always_inline __u32 exe_of(struct task_struct *t, struct inode **inode)
{
	struct mm_struct *mm = t->mm;
	struct file *exe;

	*inode = NULL;
	if (!mm)
		return 0;
	exe = mm->exe_file;
	if (!exe)
		return 0;
	*inode = exe->f_inode;
	return intern_exe(exe->f_path.dentry, *inode);
}

#define SEED_STEPS (2 * MAX_ANCESTORS)

struct seed_walk {
	struct task_struct *up;
	struct proc *p;
};

static long seed_step(__u64 i, struct seed_walk *w)
{
	struct task_struct *up = w->up;
	struct proc *p = w->p;
	struct inode *ignored;
	__u32 id;

	if (up->pid == 0)
		return 1;
	id = exe_of(up, &ignored);
	if (i == 0)
		p->parent_exe_id = id;
	/* What a program forks is often the same program. */
	if (id && (!p->ancestors || p->ancestor[(p->ancestors - 1) & (MAX_ANCESTORS - 1)] != id)) {
		if (p->ancestors >= MAX_ANCESTORS)
			return 1;
		p->ancestor[p->ancestors++ & (MAX_ANCESTORS - 1)] = id;
	}
	w->up = up->real_parent;
	return 0;
}

/* A process that was there before the agent, or whose fork was missed: its
 * program is taken from the kernel's own record, as late as now. */
static __always_inline void seed(struct task_struct *leader)
{
	struct task_struct *up;
	struct seed_walk w;
	struct inode *inode;
	struct proc *p;

	p = bpf_task_storage_get(&procs, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p) {
		count(COUNT_FAIL_OPEN_CONTEXT);
		return;
	}
	p->start = leader->start_boottime;
	p->cgroup = cgroup_of(leader);
	w.up = leader->real_parent;
	p->exe_id = exe_of(leader, &inode);
	p->flags = PROC_SEEDED | (under_scope(leader) ? PROC_SCOPE : 0) |
		   (is_rescue(leader, inode) ? PROC_RESCUE : 0);
	w.p = p;
	bpf_loop(SEED_STEPS, seed_step, &w, 0);
	/* Fail open for rules on who is farther up. */
	up = w.up;
	if (BPF_CORE_READ(up, pid))
		count(COUNT_ANCESTORS_CUT);
	p->parent_exec_id = BPF_CORE_READ(leader, real_parent, start_boottime) << 8 | 0xff;
	count_proc(p);
	p->exec_id = leader->start_boottime << 8 | 0xff;
}

/* The same for the current process. One whose thread has become the leader, in an
 * exec, goes on with what the old leader has left: also where it is asked about
 * before the exec is done, as when its image is mapped. */
__noinline int seed_current(void)
{
	struct task_struct *leader = bpf_get_current_task_btf()->group_leader;
	struct proc *p, *old;
	__u32 tgid;

	if (!leader)
		return 0;
	tgid = leader->tgid;
	old = bpf_map_lookup_elem(&orphans, &tgid);
	if (!old) {
		seed(leader);
		return 0;
	}
	p = bpf_task_storage_get(&procs, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p) {
		count(COUNT_FAIL_OPEN_CONTEXT);
		return 0;
	}
	bpf_probe_read_kernel(p, sizeof(*p), old);
	bpf_map_delete_elem(&orphans, &tgid);
	return 0;
}

/* Are the credentials those that the vectors were made for? Asked where they lie at the
 * same address, and the user ids are the same. */
static __always_inline bool same_creds(const struct proc *p, const struct cred *c)
{
	return p->gid == c->gid.val && p->egid == c->egid.val && p->caps == effective_caps(c) &&
	       p->user_ns == c->user_ns->ns.inum;
}

/* The current process; NULL for kernel threads and when no storage can be had.
 */
static __always_inline struct proc *current_proc(struct task_struct *t)
{
	struct task_struct *leader = t->group_leader;
	struct proc *p;

	if (!leader)
		return NULL;
	p = bpf_task_storage_get(&procs, leader, 0, 0);
	if (p && p->exec_id)
		return p;
	if (t->flags & PF_KTHREAD)
		return NULL;
	seed_current();
	p = bpf_task_storage_get(&procs, leader, 0, 0);
	return p && p->exec_id ? p : NULL;
}

__noinline __u64 subject_number(struct proc *p, __u32 field)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *c = t->cred;

	if (!p)
		return 0;
	switch (field) {
	case FIELD_PROCESS_UID: return c->uid.val;
	case FIELD_PROCESS_EUID: return c->euid.val;
	case FIELD_PROCESS_GID: return c->gid.val;
	case FIELD_PROCESS_EGID: return c->egid.val;
	case FIELD_PROCESS_LOGINUID: return loginuid_of(t);
	case FIELD_PROCESS_CAPS: return effective_caps(c);
	case FIELD_PROCESS_CGROUP_ID: return p->cgroup;
	case FIELD_PROCESS_NS_MNT: return BPF_CORE_READ(t, nsproxy, mnt_ns, ns.inum);
	case FIELD_PROCESS_NS_PID: return BPF_CORE_READ(t, nsproxy, pid_ns_for_children, ns.inum);
	case FIELD_PROCESS_NS_USER: return BPF_CORE_READ(c, user_ns, ns.inum);
	case FIELD_PROCESS_TTY: return tty_of(t);
	}
	return 0;
}

#endif
