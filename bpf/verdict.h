/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Verdicts that user space gave: those of rules that it judged after an earlier
 * act of the same kind (verdicts), and those that it gave while an exec was
 * held at the gate (held, tickets). A path is in a key by inode, directory,
 * name and a hash of the whole way up: whatever is renamed, the old answer is
 * not found any more.
 */
#ifndef BAILIFF_VERDICT_H
#define BAILIFF_VERDICT_H

/* The object of a judgement; dentry is 0 for fork. Pointers are kept as
 * numbers: this struct goes through functions that are verified alone. */
struct object_ref {
	__u64 dentry;
	__u64 inode;
	struct place place;
	__u32 place_of; /* generation in which place.path is known already; 0: it is not */
	union {
		__u32 rate;    /* exec, fork: such acts in the cgroup, see cgroup_rate */
		__u32 target;  /* ptrace: tgid of the process that is attached to */
		__u32 renames; /* open: their count, at some time within the hook; see seen.h */
	};
	union {
		__u16 open_flags;
		struct {
			__u8 late;  /* exec: clauses may hold that are decided at commit */
			__u8 blind; /* a digest that rules read is not known */
		};
	};
	__u16 hook; /* of the act; the rules are those of its package */
	union {
		__u32 child; /* fork: tgid of the new process */
		__u32 age;   /* of the file and 1, if a rule has asked for it */
	};
	union {
		struct {
			__u64 clone_flags; /* fork */
			__u64 procs;
		};
		struct {
			__u64 target_traits; /* ptrace: bits of event.TargetTraits */
			__u64 target_exec;   /* exec id of the process that is attached to */
		};
		struct {
			__u64 vec;    /* exec: reference to the subject's vector */
			__u32 digest; /* vector of the file's digest */
			__u32 verity; /* and of that of fs-verity */
		};
		struct file_id dir; /* open: the directory */
	};
	__u64 idents;
};

/* Answers of the gate, by the fields that held rules read. User space writes
 * them, before it lets the exec go on. Not an LRU: a deny may not be evicted.
 * Full: the agent is told, and gives a ticket instead. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct verdict_key);
	__type(value, struct held_verdict);
} held SEC(".maps");

/* The same for one exec only; taken out when it is used, and by user space
 * when the process asks for the next one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ticket_key);
	__type(value, struct held_verdict);
} tickets SEC(".maps");

/* What an exec is given, as the gate has read it and held rules were asked about it;
 * see given.h. */
struct given {
	__u64 sum;     /* of the last round */
	__u64 now_sum; /* of the ticket that was found last */
	__u64 origin;  /* of what the call was given: the same in all rounds */
	__u64 now_origin;
	__u32 texts; /* KEY_GIVEN */
	__u32 now;
	__u32 clause; /* that the gate has answered for */
	__u32 generation;
};

/* Where a key is put together: there is no room for it on the stack of kernels
 * before 6.13. Written and read within one hook. */
struct key_room {
	struct verdict_key key;
	struct ticket_key once;
	char name[LONG_NAME];
	volatile __u32 fields; /* KEY_*; here the verifier does not follow which of them are set */
	/* What the gate has read of the caller before it allowed this exec. */
	struct given given;
	__u32 looked; /* epoch in which it was looked whether a question is due; see waive.h */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct key_room);
} key_rooms SEC(".maps");

/* A path on its way into a key. */
struct path_hash {
	__u64 dentry;
	__u64 hash;
	struct key_room *room;
	__u32 len;
	__u32 cut;
};

/* One byte of a name. A callback, not a loop in line: the verifier would follow
 * each of 256 rounds, in every program that asks for a key. */
static long hash_byte(__u64 k, struct path_hash *w)
{
	__u64 h = (w->hash ^ (__u8)w->room->name[k & (LONG_NAME - 1)]) * 0x100000001b3ULL;

	w->hash = h ^ h >> 32;
	return 0;
}

static long hash_step(__u64 i, struct path_hash *w)
{
	struct dentry *d = (void *)w->dentry, *parent = BPF_CORE_READ(d, d_parent);
	long n;

	if (parent == d && i)
		return 1;
	if (w->len > PATH_BYTES - LONG_NAME) {
		w->cut = 1;
		return 1;
	}
	n = bpf_probe_read_kernel_str(w->room->name, LONG_NAME, BPF_CORE_READ(d, d_name.name));
	if (n <= 0 || (parent == d && n == 2))
		return 1; /* a root: nothing above */
	bpf_loop(n, hash_byte, w, 0);
	w->len += n;
	if (parent == d)
		return 1;
	w->dentry = (__u64)parent;
	return 0;
}

/* 0 if the path is too long to be a key. hashPath in Go computes the same from
 * the path in a record. */
static __always_inline __u64 hash_path(__u64 dentry, struct key_room *room)
{
	struct path_hash w = {
		.dentry = dentry, .hash = settings.secret, .room = room, .len = unknown_zero};

	bpf_loop(PATH_BYTES / 2, hash_step, &w, 0);
	return w.cut ? 0 : w.hash | 1;
}

static __always_inline struct key_room *key_room(void)
{
	return bpf_task_storage_get(&key_rooms, bpf_get_current_task_btf(), 0,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Puts the fields together that a set of rules reads, in the task's room; the
 * rest is zero. 0 when that is no key. */
__noinline int make_key(const struct proc *p, const struct object_ref *o, __u32 generation,
			__u32 hook, __u32 fields)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *c = t->cred;
	struct verdict_key *k;
	struct key_room *room;
	struct dentry *d;

	if (!p || !o || fields & (KEY_NONE | KEY_GIVEN))
		return 0;
	room = key_room();
	if (!room)
		return 0;
	k = &room->key;
	__builtin_memset(k, 0, sizeof(*k));
	room->fields = fields;
	k->generation = generation;
	k->hook = hook;
	if (room->fields & KEY_EXE)
		k->exe_id = p->exe_id;
	if (room->fields & KEY_PARENT)
		k->parent_exe_id = p->parent_exe_id;
	if (room->fields & KEY_IDS) {
		k->uid = c->uid.val;
		k->euid = c->euid.val;
		k->gid = c->gid.val;
		k->egid = c->egid.val;
	}
	if (room->fields & KEY_CGROUP)
		k->cgroup = p->cgroup;
	if (room->fields & KEY_OPEN)
		k->open_flags = o->open_flags;
	if (o->dentry && room->fields & (KEY_FILE | KEY_META)) {
		struct inode *inode = (void *)o->inode, *dir;
		struct super_block *sb;

		d = (void *)o->dentry;
		dir = BPF_CORE_READ(d, d_parent, d_inode);
		sb = BPF_CORE_READ(d, d_sb);
		if (room->fields & KEY_FILE) {
			/* A name that does not fit is not a key. */
			if (BPF_CORE_READ(d, d_name.len) >= NAME_KEY)
				return 0;
			k->path = hash_path(o->dentry, room);
			if (!k->path)
				return 0;
			k->file.dev = BPF_CORE_READ(sb, s_dev);
			k->file.gen = BPF_CORE_READ(inode, i_generation);
			k->file.ino = BPF_CORE_READ(inode, i_ino);
			k->dir.dev = BPF_CORE_READ(dir, i_sb, s_dev);
			k->dir.gen = BPF_CORE_READ(dir, i_generation);
			k->dir.ino = BPF_CORE_READ(dir, i_ino);
			bpf_probe_read_kernel_str(k->name, sizeof(k->name),
						  BPF_CORE_READ(d, d_name.name));
		}
		if (room->fields & KEY_META) {
			k->mode = BPF_CORE_READ(inode, i_mode);
			k->owner = BPF_CORE_READ(inode, i_uid.val);
			k->group = BPF_CORE_READ(inode, i_gid.val);
			k->nlink = BPF_CORE_READ(inode, i_nlink);
			k->dir_mode = BPF_CORE_READ(dir, i_mode);
			k->dir_uid = BPF_CORE_READ(dir, i_uid.val);
			k->traits = traits_of(inode, BPF_CORE_READ(sb, s_magic),
					      BPF_CORE_READ(sb, s_flags), k->mode, k->nlink,
					      k->dir_mode);
		}
	}
	/* A number of zero is no program in particular. */
	if ((room->fields & KEY_EXE && !k->exe_id) ||
	    (room->fields & KEY_PARENT && !k->parent_exe_id))
		return 0;
	return 1;
}

/* Looks for a verdict of user space under the fields that deferred rules read.
 */
__noinline __u32 remembered(const struct proc *p, const struct object_ref *o, __u32 generation,
			    __u32 hook, __u32 fields)
{
	struct key_room *room;
	__u32 *verdict;

	if (!make_key(p, o, generation, hook, fields))
		return VERDICT_NONE;
	room = key_room();
	if (!room)
		return VERDICT_NONE;
	verdict = bpf_map_lookup_elem(&verdicts, &room->key);
	return verdict ? *verdict : VERDICT_NONE;
}

static __always_inline void validity_of(struct validity *v, struct inode *inode)
{
	v->ctime = changed_at(inode);
	v->size = BPF_CORE_READ(inode, i_size);
	/* The lowest bit only says that somebody has looked. */
	v->version = BPF_CORE_READ(inode, i_version.counter) & ~1ULL;
}

/* Is the file still what the gate has judged? */
static __always_inline bool as_judged(const struct held_verdict *h, struct inode *inode)
{
	struct validity now = {};

	validity_of(&now, inode);
	return h->of.ctime == now.ctime && h->of.size == now.size && h->of.version == now.version;
}

/* The same, counted. */
__noinline int still_valid(const struct held_verdict *h, __u64 inode)
{
	if (!h)
		return 0;
	if (as_judged(h, (void *)inode))
		return 1;
	count(COUNT_HELD_CHANGED);
	return 0;
}

/* The gate's verdict for this one exec, if it gave one. */
__noinline __u32 of_ticket(const struct proc *p, const struct object_ref *o, __u32 generation)
{
	struct key_room *room = key_room();
	struct ticket_key *once;
	struct held_verdict *h;
	struct inode *inode;
	__u32 v;

	if (!p || !o || !room)
		return VERDICT_NONE;
	inode = (void *)o->inode;
	once = &room->once;
	once->generation = generation;
	once->pad = 0;
	once->exec_id = p->exec_id;
	once->file.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	once->file.gen = BPF_CORE_READ(inode, i_generation);
	once->file.ino = BPF_CORE_READ(inode, i_ino);
	h = bpf_map_lookup_elem(&tickets, once);
	if (!h || !still_valid(h, o->inode))
		return VERDICT_NONE;
	v = h->verdict;
	room->given.now = h->texts;
	room->given.now_sum = h->sum;
	room->given.now_origin = h->origin;
	bpf_map_delete_elem(&tickets, once);
	return v;
}

/* The gate's verdict, if it has one about this file as it is now. */
__noinline __u32 of_gate(const struct proc *p, const struct object_ref *o, __u32 generation,
			 __u32 hook, __u32 fields)
{
	struct key_room *room;
	struct held_verdict *h;

	if (!p || !o || !o->dentry)
		return VERDICT_NONE;
	if (make_key(p, o, generation, hook, fields)) {
		room = key_room();
		h = room ? bpf_map_lookup_elem(&held, &room->key) : NULL;
		if (h && still_valid(h, o->inode))
			return h->verdict;
	}
	return of_ticket(p, o, generation);
}

/* The open file of the running process; NULL if there is none. */
static __always_inline struct file *file_of(__u32 fd)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct file *f = NULL, **fds = BPF_CORE_READ(t, files, fdt, fd);

	if (fd >= BPF_CORE_READ(t, files, fdt, max_fds) ||
	    bpf_probe_read_kernel(&f, sizeof(f), fds + fd))
		return NULL;
	return f;
}

/* A process with more threads than this is not known at the gate. */
#define MAX_THREADS (1 << 16)

/* One thread of a process after the other. */
struct thread_walk {
	__u64 node;
	__u64 found;
	__u32 tid;
	__u32 pad;
};

static long thread_step(__u64 i, struct thread_walk *w)
{
	struct task_struct *t =
		(void *)(w->node - bpf_core_field_offset(struct task_struct, thread_node));

	if (BPF_CORE_READ(t, pid) == w->tid) {
		w->found = (__u64)t;
		return 1;
	}
	/* The first member of a list's head is the next one. */
	return bpf_probe_read_kernel(&w->node, sizeof(w->node), (void *)w->node) != 0;
}

/* A thread of the process that a pidfd refers to. A pidfd has the pid as private
 * data; since 6.9 its inode has: whichever leads to the thread is it. */
static __always_inline struct task_struct *thread_at(__u32 pidfd, __u32 tid)
{
	struct file *f = file_of(pidfd);
	void *pid[2] = {BPF_CORE_READ(f, private_data), BPF_CORE_READ(f, f_inode, i_private)};

	for (int i = 0; i < 2; i++) {
		struct pid *p = pid[i];
		void *link = BPF_CORE_READ(p, tasks[0].first);
		struct thread_walk w = {.tid = tid};
		struct task_struct *t;

		if (!link)
			continue;
		t = link - bpf_core_field_offset(struct task_struct, pid_links);
		w.node = (__u64)BPF_CORE_READ(t, signal, thread_head.next);
		bpf_loop(MAX_THREADS, thread_step, &w, 0);
		if (w.found)
			return (void *)w.found;
	}
	return NULL;
}

/* Fills in what a process context does not have, of a thread that stands still.
 * The same as fill_subject says of the running one. */
static __always_inline void far_subject(struct wire_subject *s, struct task_struct *t)
{
	const struct cred *c = BPF_CORE_READ(t, cred);
	struct tty_struct *tty = BPF_CORE_READ(t, signal, tty);

	s->tid = BPF_CORE_READ(t, pid);
	s->pid = BPF_CORE_READ(t, tgid);
	s->ppid = BPF_CORE_READ(t, real_parent, tgid);
	s->uid = BPF_CORE_READ(c, uid.val);
	s->euid = BPF_CORE_READ(c, euid.val);
	s->gid = BPF_CORE_READ(c, gid.val);
	s->egid = BPF_CORE_READ(c, egid.val);
	/* Two words or one, in the same order. */
	bpf_probe_read_kernel(&s->caps, sizeof(s->caps), &c->cap_effective);
	s->loginuid =
		bpf_core_field_exists(t->loginuid) ? BPF_CORE_READ(t, loginuid.val) : 0xffffffff;
	s->tty = 0;
	if (tty) {
		__u32 minor = BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index);

		s->tty = (minor & 0xff) | BPF_CORE_READ(tty, driver, major) << 8 |
			 (minor & ~0xffU) << 12;
	}
	s->mnt_ns = BPF_CORE_READ(t, nsproxy, mnt_ns, ns.inum);
	s->pid_ns = BPF_CORE_READ(t, nsproxy, pid_ns_for_children, ns.inum);
	s->user_ns = BPF_CORE_READ(c, user_ns, ns.inum);
	s->traits = far_traits(t);
	bpf_probe_read_kernel(s->comm, sizeof(s->comm), &t->comm);
}

/* Facts of a file that the caller has open, for one caller a slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EXAMINED);
	__type(key, __u32);
	__type(value, struct examined);
} files_examined SEC(".maps");

/* clang-format off */
SEC("syscall")
int examine(struct examine_of *ctx)
/* clang-format on */
{
	__u32 slot = ctx->slot;
	struct file *f = file_of(ctx->fd);
	struct task_struct *t;
	struct inode *inode;
	struct fdtable *fdt;
	struct examined *e;
	struct dentry *d;

	e = bpf_map_lookup_elem(&files_examined, &slot);
	if (!e || !f)
		return -1;
	inode = BPF_CORE_READ(f, f_inode);
	d = BPF_CORE_READ(f, f_path.dentry);
	file_facts(&e->file, d, inode);
	validity_of(&e->of, inode);
	e->age = file_age(inode, bpf_ktime_get_boot_ns());
	e->file.path_len = copy_path_far(e->path, (__u64)d, &e->file.unresolved);
	e->who.tid = 0;
	t = thread_at(ctx->pidfd, ctx->tid);
	if (t) {
		far_subject(&e->who, t);
		fdt = BPF_CORE_READ(t, files, fdt);
		e->stdio = stdio_of(BPF_CORE_READ(fdt, fd), BPF_CORE_READ(fdt, close_on_exec));
	}
	return 0;
}

/* The hook after which the package is named whose rules judge an act. */
static __always_inline __u32 package_of(__u32 hook)
{
	return hook == HOOK_MMAP ? HOOK_EXEC : hook > HOOK_MMAP ? HOOK_OPEN : hook;
}

#endif
