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
	__u32 pad;
	__u32 open_flags;
	__u32 child; /* fork: tgid of the new process */
	__u64 clone_flags;
	__u64 procs;
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

/* Where a key is put together: there is no room for it on the stack of kernels
 * before 6.13. Written and read within one hook. */
struct key_room {
	struct verdict_key key;
	struct ticket_key once;
	char name[LONG_NAME];
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

/* Puts the fields together that a set of rules reads; the rest is zero. NULL
 * when that is no key. */
static __noinline struct key_room *key_of(const struct proc *p, const struct object_ref *o,
					  __u32 generation, __u32 hook, __u32 fields)
{
	struct task_struct *t = bpf_get_current_task_btf();
	const struct cred *c = t->cred;
	struct verdict_key *k;
	struct key_room *room;
	struct dentry *d;

	if (fields & KEY_NONE)
		return NULL;
	room = bpf_task_storage_get(&key_rooms, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!room)
		return NULL;
	k = &room->key;
	__builtin_memset(k, 0, sizeof(*k));
	k->generation = generation;
	k->hook = hook;
	if (fields & KEY_EXE)
		k->exe_id = p->exe_id;
	if (fields & KEY_PARENT)
		k->parent_exe_id = p->parent_exe_id;
	if (fields & KEY_IDS) {
		k->uid = c->uid.val;
		k->euid = c->euid.val;
		k->gid = c->gid.val;
		k->egid = c->egid.val;
	}
	if (fields & KEY_CGROUP)
		k->cgroup = p->cgroup;
	if (fields & KEY_OPEN)
		k->open_flags = o->open_flags;
	if (o->dentry && fields & (KEY_FILE | KEY_META)) {
		struct inode *inode = (void *)o->inode, *dir;
		struct super_block *sb = BPF_CORE_READ(inode, i_sb);

		d = (void *)o->dentry;
		dir = BPF_CORE_READ(d, d_parent, d_inode);
		if (fields & KEY_FILE) {
			/* A name that does not fit is not a key. */
			if (BPF_CORE_READ(d, d_name.len) >= NAME_KEY)
				return NULL;
			k->path = hash_path(o->dentry, room);
			if (!k->path)
				return NULL;
			k->file.dev = BPF_CORE_READ(sb, s_dev);
			k->file.gen = BPF_CORE_READ(inode, i_generation);
			k->file.ino = BPF_CORE_READ(inode, i_ino);
			k->dir.dev = BPF_CORE_READ(dir, i_sb, s_dev);
			k->dir.gen = BPF_CORE_READ(dir, i_generation);
			k->dir.ino = BPF_CORE_READ(dir, i_ino);
			bpf_probe_read_kernel_str(k->name, sizeof(k->name),
						  BPF_CORE_READ(d, d_name.name));
		}
		if (fields & KEY_META) {
			k->mode = BPF_CORE_READ(inode, i_mode);
			k->owner = BPF_CORE_READ(inode, i_uid.val);
			k->group = BPF_CORE_READ(inode, i_gid.val);
			k->nlink = BPF_CORE_READ(inode, i_nlink);
			k->dir_mode = BPF_CORE_READ(dir, i_mode);
			k->dir_uid = BPF_CORE_READ(dir, i_uid.val);
			k->traits =
				traits_of(BPF_CORE_READ(sb, s_magic), BPF_CORE_READ(sb, s_flags),
					  k->mode, k->nlink, k->dir_mode);
		}
	}
	/* A number of zero is no program in particular. */
	if ((fields & KEY_EXE && !k->exe_id) || (fields & KEY_PARENT && !k->parent_exe_id))
		return NULL;
	return room;
}

/* Looks for a verdict of user space under the fields that deferred rules read.
 */
__noinline __u32 remembered(const struct proc *p, const struct object_ref *o, __u32 generation,
			    __u32 hook, __u32 fields)
{
	struct key_room *room;
	__u32 *verdict;

	if (!p || !o)
		return VERDICT_NONE;
	room = key_of(p, o, generation, hook, fields);
	if (!room)
		return VERDICT_NONE;
	verdict = bpf_map_lookup_elem(&verdicts, &room->key);
	return verdict ? *verdict : VERDICT_NONE;
}

static __always_inline void validity_of(struct validity *v, struct inode *inode)
{
	struct inode___611 *n = (void *)inode;
	struct inode___66 *m = (void *)inode;
	struct inode___61 *o = (void *)inode;

	if (bpf_core_field_exists(n->i_ctime_sec))
		v->ctime = BPF_CORE_READ(n, i_ctime_sec) * 1000000000ULL +
			   (BPF_CORE_READ(n, i_ctime_nsec) & 0x7fffffff);
	else if (bpf_core_field_exists(m->__i_ctime))
		v->ctime = BPF_CORE_READ(m, __i_ctime.tv_sec) * 1000000000ULL +
			   BPF_CORE_READ(m, __i_ctime.tv_nsec);
	else
		v->ctime = BPF_CORE_READ(o, i_ctime.tv_sec) * 1000000000ULL +
			   BPF_CORE_READ(o, i_ctime.tv_nsec);
	v->size = BPF_CORE_READ(inode, i_size);
	/* The lowest bit only says that somebody has looked. */
	v->version = BPF_CORE_READ(inode, i_version.counter) & ~1ULL;
}

/* Is the file still what the gate has judged? */
__noinline int still_valid(const struct held_verdict *h, __u64 inode)
{
	struct validity now = {};

	if (!h)
		return 0;
	validity_of(&now, (void *)inode);
	if (h->of.ctime == now.ctime && h->of.size == now.size && h->of.version == now.version)
		return 1;
	count(COUNT_HELD_CHANGED);
	return 0;
}

/* The gate's verdict, if it has one about this file as it is now. */
__noinline __u32 of_gate(const struct proc *p, const struct object_ref *o, __u32 generation,
			 __u32 hook, __u32 fields)
{
	struct key_room *room;
	struct ticket_key *once;
	struct held_verdict *h;
	struct inode *inode;
	__u32 v;

	if (!p || !o || !o->dentry)
		return VERDICT_NONE;
	inode = (void *)o->inode;
	room = key_of(p, o, generation, hook, fields);
	if (room) {
		h = bpf_map_lookup_elem(&held, &room->key);
		if (h && still_valid(h, o->inode))
			return h->verdict;
	}
	room = bpf_task_storage_get(&key_rooms, bpf_get_current_task_btf(), 0,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!room)
		return VERDICT_NONE;
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
	bpf_map_delete_elem(&tickets, once);
	return v;
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
	struct task_struct *t = bpf_get_current_task_btf();
	__u32 fd = ctx->fd, slot = ctx->slot;
	struct path_walk w = {.off = unknown_zero};
	struct file *f, **fds;
	struct inode *inode;
	struct examined *e;
	struct dentry *d;

	e = bpf_map_lookup_elem(&files_examined, &slot);
	fds = BPF_CORE_READ(t, files, fdt, fd);
	if (!e || fd >= BPF_CORE_READ(t, files, fdt, max_fds) ||
	    bpf_probe_read_kernel(&f, sizeof(f), fds + fd) || !f)
		return -1;
	inode = BPF_CORE_READ(f, f_inode);
	d = BPF_CORE_READ(f, f_path.dentry);
	file_facts(&e->file, d, inode);
	validity_of(&e->of, inode);
	w.dentry = (__u64)d;
	w.buf = e->path;
	bpf_loop(PATH_BYTES / 2, path_step, &w, 0);
	e->file.path_len = w.off;
	e->file.unresolved = w.cut;
	return 0;
}

#endif
