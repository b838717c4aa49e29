/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a file to its classes. Objects are judged by identity: the inode, or
 * (directory, name), or the nearest directory above that a rule names, found
 * by walking d_parent inside the filesystem. Bind mounts, chroot and mount
 * namespaces do not change that walk.
 */
#ifndef BAILIFF_WALK_H
#define BAILIFF_WALK_H

/* No tree is deeper: beyond it the path is unresolved (fail closed). */
#define FAR_STEPS (1 << 16)

/* The path class says it all; the name adds nothing. */
#define CLASS_WHOLE 2
/* No rule lists this name or an ending of it. */
#define CLASS_NO_NAME 3

/* Where a long name is made into a key; written and read within one hook. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct long_name_key);
} long_key SEC(".maps");

struct place {
	__u32 path;
	__u32 name;
};

static __always_inline bool maybe_file(const struct slot *s, unsigned long ino)
{
	__u64 h = ino * 0x9e3779b97f4a7c15ULL;

	h >>= 44;
	return s->files[(h >> 6) & (FILE_FILTER_WORDS - 1)] & (1ULL << (h & 63));
}

/* Number only: one load instead of three at each step of a walk. */
static __always_inline bool maybe_named(const struct slot *s, unsigned long ino)
{
	__u64 h = ino * 0x9e3779b97f4a7c15ULL;

	h >>= 48;
	return s->filter[(h >> 6) & (FILTER_WORDS - 1)] & (1ULL << (h & 63));
}

/* Names shorter than this lie in the dentry itself: no call to read them. */
#define SHORT_NAME 32

/* Does the dentry hold its name itself? */
static __always_inline bool short_name(struct dentry *d, __u32 len)
{
	return bpf_core_field_exists(d->d_iname) && len < SHORT_NAME &&
	       (__u64)d->d_name.name == (__u64)d + bpf_core_field_offset(struct dentry, d_iname);
}

static __always_inline void copy_short(char *to, struct dentry *d, __u32 len)
{
	*(__u64 *)&to[0] = *(__u64 *)&d->d_iname[0];
	*(__u64 *)&to[8] = *(__u64 *)&d->d_iname[8];
	if (len >= 16) {
		*(__u64 *)&to[16] = *(__u64 *)&d->d_iname[16];
		*(__u64 *)&to[24] = *(__u64 *)&d->d_iname[24];
	}
}

/* Writes one name, ended by NUL; returns its bytes. There is room for 256. */
static __always_inline __u32 put_name(char *to, struct dentry *d)
{
	__u32 len = d->d_name.len;
	long n;

	if (short_name(d, len)) {
		copy_short(to, d, len);
		return len + 1;
	}
	n = bpf_probe_read_kernel_str(to, 256, d->d_name.name);
	return n > 0 && n <= 256 ? n : 0;
}

/* Class of a last component: exact, else by its longest suffix in a rule. */
__noinline __u32 name_class(__u64 name, __u32 len, __u32 index)
{
	struct {
		__u64 end[SUFFIX_KEY / 8];
		char name[NAME_KEY];
		__u32 pad; /* so that the tail is aligned */
		struct suffix_key suffix;
	} k = {};
	void *map;
	__u32 *class;
	long n;

	n = bpf_probe_read_kernel_str(k.name, NAME_KEY, (void *)name);
	if (n > 0 && n <= NAME_KEY && len < NAME_KEY) {
		map = bpf_map_lookup_elem(&basenames, &index);
		if (map) {
			class = bpf_map_lookup_elem(map, k.name);
			if (class)
				return *class;
		}
	}
	map = bpf_map_lookup_elem(&suffixes, &index);
	if (!map)
		return CLASS_NO_NAME;
	/* A name is a part of something larger, so there is something to read before
	 * a short one; what that is does not count. */
	if (bpf_probe_read_kernel(k.end, SUFFIX_KEY, (void *)(name + len - SUFFIX_KEY))) {
		count(COUNT_FAIL_CLOSED_PATH);
		return CLASS_UNRESOLVED;
	}
#pragma unroll
	for (int i = 0; i < SUFFIX_KEY / 8; i++)
		*(__u64 *)&k.suffix.tail[8 * i] = __builtin_bswap64(k.end[SUFFIX_KEY / 8 - 1 - i]);
	k.suffix.bits = (len < SUFFIX_KEY ? len : SUFFIX_KEY) * 8;
	class = bpf_map_lookup_elem(map, &k.suffix);
	return class ? *class : CLASS_NO_NAME;
}

/* The name could not be looked up: the path is unresolved. */
#define NAME_UNKNOWN 0xffffffff

/* Class of a file by (directory, name); 0 if no rule names it so. */
__noinline __u32 named_class(const struct file_id *dir, __u64 at, __u32 len, __u32 index)
{
	const char *name = (void *)at;
	__u32 *class;
	void *map;

	if (!dir)
		return NAME_UNKNOWN;
	if (len < NAME_KEY) {
		struct name_key k = {.dir = *dir};

		map = bpf_map_lookup_elem(&names, &index);
		if (!map || bpf_probe_read_kernel_str(k.name, NAME_KEY, name) < 0)
			return 0;
		class = bpf_map_lookup_elem(map, &k);
	} else {
		/* Too long for the stack: kernels before 6.13 allow 512 bytes to a
     * whole call chain. A thread is in one hook at a time. */
		struct task_struct *t = bpf_get_current_task_btf();
		struct long_name_key *k =
			bpf_task_storage_get(&long_key, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

		map = bpf_map_lookup_elem(&long_names, &index);
		if (!map)
			return 0;
		if (!k) {
			count(COUNT_FAIL_CLOSED_PATH);
			return NAME_UNKNOWN;
		}
		__builtin_memset(k->name, 0, sizeof(k->name));
		k->dir = *dir;
		if (bpf_probe_read_kernel_str(k->name, LONG_NAME, name) < 0)
			return 0;
		class = bpf_map_lookup_elem(map, k);
	}
	return class ? *class : 0;
}

struct far_walk {
	__u64 dentry;
	__u32 index;
	__u32 class;
};

static long far_step(__u64 i, struct far_walk *w)
{
	struct dentry *d = (void *)w->dentry, *parent = BPF_CORE_READ(d, d_parent);
	struct inode *inode;
	struct file_id id;
	struct object *o;
	void *map;

	if (parent == d) {
		w->class = CLASS_OTHER;
		return 1;
	}
	inode = BPF_CORE_READ(parent, d_inode);
	id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id.gen = BPF_CORE_READ(inode, i_generation);
	id.ino = BPF_CORE_READ(inode, i_ino);
	map = bpf_map_lookup_elem(&objects, &w->index);
	if (!map)
		return 1;
	o = bpf_map_lookup_elem(map, &id);
	if (o && o->flags & OBJECT_PREFIX) {
		w->class = o->below;
		return 1;
	}
	w->dentry = (__u64)parent;
	return 0;
}

/* Class of a file that a rule names by its inode; 0 if none does. */
static __always_inline __u32 file_class(struct inode *inode, const struct slot *s, __u32 index)
{
	struct file_id id;
	struct object *o;
	void *map;

	if (!maybe_file(s, inode->i_ino))
		return 0;
	map = bpf_map_lookup_elem(&objects, &index);
	if (!map)
		return 0;
	id_of(&id, inode);
	o = bpf_map_lookup_elem(map, &id);
	return o && o->flags & OBJECT_FILE ? o->class : 0;
}

/* A walk with typed pointers, which the verifier follows through the stack into
 * the callback: plain loads. */
struct near_walk {
	struct dentry *d;
	const struct slot *s;
	void *map;
	__u32 class;
};

static long near_step(__u64 i, struct near_walk *w)
{
	struct dentry *d = w->d, *parent = d->d_parent;
	struct inode *inode;
	struct file_id id;
	struct object *o;

	if (parent == d) {
		w->class = CLASS_OTHER;
		return 1;
	}
	inode = parent->d_inode;
	if (maybe_named(w->s, inode->i_ino)) {
		id_of(&id, inode);
		o = bpf_map_lookup_elem(w->map, &id);
		if (o && o->flags & OBJECT_PREFIX) {
			w->class = o->below;
			return 1;
		}
	}
	w->d = parent;
	return 0;
}

/* Class of the path of an open or executed file in one generation. */
static __noinline __u32 path_class(struct dentry *d, struct inode *inode, const struct slot *s,
				   __u32 index)
{
	struct near_walk w = {.d = d, .s = s};
	struct dentry *parent = d->d_parent;
	struct inode *dir = parent->d_inode;
	bool keep = true;
	struct seen_at at;
	struct file_id id;
	struct object *o;
	__u32 class;

	w.map = bpf_map_lookup_elem(&objects, &index);
	if (!w.map)
		return CLASS_UNRESOLVED;
	class = file_class(inode, s, index);
	if (class)
		return class;
	seen_now(&at, dir, s->generation);
	if (parent == d)
		return CLASS_OTHER;
	class = seen_class(&at);
	if (class)
		return class;
	if (maybe_named(s, dir->i_ino)) {
		id_of(&id, dir);
		o = bpf_map_lookup_elem(w.map, &id);
		if (o && o->flags & OBJECT_NAMES) {
			keep = false; /* files in it have classes of their own */
			class = named_class(&id, (__u64)BPF_CORE_READ(d, d_name.name),
					    d->d_name.len, index);
			if (class)
				return class == NAME_UNKNOWN ? CLASS_UNRESOLVED : class;
		}
	}
	bpf_loop(FAR_STEPS, near_step, &w, 0);
	class = w.class;
	/* Not found within the bound: no such tree, or somebody is at work. */
	if (class == CLASS_UNRESOLVED)
		count(COUNT_FAIL_CLOSED_PATH);
	else if (keep && seen_here(dir))
		see(&at, class);
	return class;
}

/* Class of the name. A file that a rule names by its whole path has a class
 * that includes its name; such classes carry the mark in pad. */
static __always_inline __u32 place_name(__u32 path, struct dentry *d, __u32 index)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	struct class *c = map ? bpf_map_lookup_elem(map, &path) : NULL;

	if (c && c->pad)
		return CLASS_WHOLE;
	return name_class((__u64)BPF_CORE_READ(d, d_name.name), BPF_CORE_READ(d, d_name.len),
			  index);
}

/*
 * Zero, but the verifier does not know it. Before 6.7 it follows the callback
 * of a loop once, with what it knows at that time: from a known offset of zero
 * it never sees the buffer fill up, and takes what follows from that for dead.
 */
__u32 unknown_zero;

/* Components of the path within its filesystem, last first, each ended by NUL. */
struct path_walk {
	struct dentry *d; /* typed */
	__u64 dentry;	  /* or by number only */
	char *buf;
	__u32 off;
	__u32 cut;
};

/* One component; read is how the parent is found, put writes the name. */
#define PATH_STEP(name_, type_, at_, parent_, put_, max_)                                         \
	static long name_(__u64 i, struct path_walk *w)                                           \
	{                                                                                         \
		struct dentry *d = (void *)w->at_, *parent = parent_;                             \
		__u32 off = w->off;                                                               \
		long n;                                                                           \
                                                                                                  \
		if (parent == d && i)                                                             \
			return 1;                                                                 \
		if (off > (max_) - 256) {                                                         \
			w->cut = 1;                                                               \
			return 1;                                                                 \
		}                                                                                 \
		n = put_;                                                                         \
		if (n > 0 && n <= 256)                                                            \
			w->off = off + n;                                                         \
		if (parent == d) {                                                                \
			/* A root: nothing above. Only files without a tree have a name there. */ \
			if (n == 2)                                                               \
				w->off = off;                                                     \
			return 1;                                                                 \
		}                                                                                 \
		w->at_ = (type_)parent;                                                           \
		return 0;                                                                         \
	}
PATH_STEP(path_step, struct dentry *, d, d->d_parent, put_name(w->buf + off, d), PATH_BYTES)
#define FAR_NAME bpf_probe_read_kernel_str(w->buf + off, 256, BPF_CORE_READ(d, d_name.name))
PATH_STEP(far_path_step, __u64, dentry, BPF_CORE_READ(d, d_parent), FAR_NAME, PATH_BYTES)
PATH_STEP(exe_path_step, __u64, dentry, BPF_CORE_READ(d, d_parent), FAR_NAME, EXE_PATH)

/* Writes a path; returns its bytes. There must be PATH_ROOM bytes. */
static __always_inline __u32 copy_path(char *buf, struct dentry *d, __u32 *cut)
{
	struct path_walk w = {.d = d, .buf = buf, .off = unknown_zero};

	bpf_loop(PATH_BYTES / 2, path_step, &w, 0);
	*cut = w.cut;
	return w.off;
}

static __always_inline __u32 copy_path_far(char *buf, __u64 dentry, __u32 *cut)
{
	struct path_walk w = {.dentry = dentry, .buf = buf, .off = unknown_zero};

	bpf_loop(PATH_BYTES / 2, far_path_step, &w, 0);
	*cut = w.cut;
	return w.off;
}

/* There must be EXE_PATH bytes. */
static __always_inline __u32 copy_exe_path(char *buf, __u64 dentry, __u32 *cut)
{
	struct path_walk w = {.dentry = dentry, .buf = buf, .off = unknown_zero};

	bpf_loop(EXE_PATH / 2, exe_path_step, &w, 0);
	*cut = w.cut;
	return w.off;
}

#endif
