/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the walk up from a directory found, kept so that the next file there
 * costs no walk. An answer holds for one directory (device, number, generation),
 * one state of the tables (settings.generation, settings.bindings) and one
 * count of renames: rename_lock is what the kernel itself takes to move any
 * directory anywhere, so while its sequence is the same, and even, no parent has
 * changed.
 */
#ifndef BAILIFF_SEEN_H
#define BAILIFF_SEEN_H

#define SEEN_DIRS DIR_SLOTS
/* Each word is mixed with the entry's own random number: should two writers mix
 * their entries, no word of one fits the other's number. */
struct seen_dir {
	__u64 nonce;
	__u64 place; /* device and generation of the inode, as in struct file_id */
	__u64 ino;
	__u64 tables; /* settings.generation << 32 | settings.bindings */
	__u64 answer; /* class << 32 | sequence of renames */
	__u64 pad[3];
};
volatile struct seen_dir seen_dirs[SEEN_DIRS];

static __always_inline void id_of(struct file_id *id, struct inode *inode)
{
	id->dev = inode->i_sb->s_dev;
	id->gen = inode->i_generation;
	id->ino = inode->i_ino;
}

/* The state of the world that an answer is about; taken before the walk. */
struct seen_at {
	struct file_id dir;
	__u64 tables;
	__u32 renames; /* odd: nothing can be kept, nothing that was kept holds */
};

static __always_inline __u64 seen_place(const struct seen_at *at)
{
	return (__u64)at->dir.gen << 32 | at->dir.dev;
}

/* The count of renames; odd, so that it is equal to none, where it is not known or
 * somebody renames just now. Where the kernel hides its addresses it never is:
 * nothing is kept then, every open walks. */
static __always_inline __u32 renames_now(void)
{
	void *lock = (void *)initial.renames;
	__u32 n = 1;

	if (!lock)
		return 1;
	if (bpf_rdonly_cast) {
		struct seqcount *s =
			bpf_rdonly_cast(lock, bpf_core_type_id_kernel(struct seqcount));

		return *(volatile unsigned int *)&s->sequence;
	}
	return bpf_probe_read_kernel(&n, sizeof(n), lock) ? 1 : n;
}

static __always_inline void seen_now(struct seen_at *at, struct inode *dir, __u32 generation)
{
	at->renames = renames_now();
	at->tables = (__u64)generation << 32 | settings.bindings;
	id_of(&at->dir, dir);
}

static __always_inline __u32 seen_index(const struct seen_at *at)
{
	return (at->dir.ino * 0x9e3779b97f4a7c15ULL >> 40) & (SEEN_DIRS - 1);
}

static __always_inline volatile struct seen_dir *seen_entry(const struct seen_at *at)
{
	return &seen_dirs[seen_index(at)];
}

/* The class of what is in a directory and named by nothing nearer; 0
 * (CLASS_UNRESOLVED) if that is not known. */
static __always_inline __u32 seen_class(const struct seen_at *at)
{
	volatile struct seen_dir *e = seen_entry(at);
	__u64 nonce = e->nonce, answer;

	if ((e->ino ^ nonce) != at->dir.ino || (e->place ^ nonce) != seen_place(at) ||
	    (e->tables ^ nonce) != at->tables || at->renames & 1)
		return 0;
	answer = e->answer ^ nonce;
	return (__u32)answer == at->renames ? answer >> 32 : 0;
}

/*
 * Directories whose path user space has: a record of a file in one of them gives
 * the number under which the path was told, and the file's name. A number is
 * given with a record that carries the whole path, and put down here only when
 * that record is in the ring; so whoever finds it here comes later in the ring.
 * It holds for as long as an answer above: until a directory moves anywhere.
 */
struct told_dir {
	__u64 nonce;
	__u64 place;
	__u64 ino;
	__u64 number; /* number << 32 | sequence of renames */
};
volatile struct told_dir told_dirs[SEEN_DIRS];
/* Numbers of paths; kernel only. 0 is none. */
volatile __u32 last_told;

/* The number of a directory's path; 0 if user space does not have it. */
static __always_inline __u32 told_number(const struct seen_at *at)
{
	volatile struct told_dir *e = &told_dirs[seen_index(at)];
	__u64 nonce = e->nonce, number;

	if ((e->ino ^ nonce) != at->dir.ino || (e->place ^ nonce) != seen_place(at) ||
	    at->renames & 1)
		return 0;
	number = e->number ^ nonce;
	return (__u32)number == at->renames ? number >> 32 : 0;
}

static __always_inline void tell_dir(const struct seen_at *at, __u32 number)
{
	volatile struct told_dir *e = &told_dirs[seen_index(at)];
	__u64 nonce = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();

	e->nonce = nonce;
	e->ino = at->dir.ino ^ nonce;
	e->place = seen_place(at) ^ nonce;
	e->number = ((__u64)number << 32 | at->renames) ^ nonce;
}

/* Filesystems of which it is known that a directory cannot get another place
 * without the kernel moving it, and that no two directories have one identity:
 * not those with a server elsewhere, and not those whose snapshots repeat
 * device, number and generation (btrfs, bcachefs). */
static __always_inline bool seen_here(struct inode *dir)
{
	switch (dir->i_sb->s_magic) {
	case EXT4_MAGIC:
	case XFS_MAGIC:
	case F2FS_MAGIC:
	case TMPFS_MAGIC: return true;
	}
	return false;
}

static __always_inline void see(const struct seen_at *at, __u32 class)
{
	volatile struct seen_dir *e = seen_entry(at);
	__u64 nonce = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();

	if (at->renames & 1)
		return;
	e->nonce = nonce;
	e->ino = at->dir.ino ^ nonce;
	e->place = seen_place(at) ^ nonce;
	e->tables = at->tables ^ nonce;
	e->answer = ((__u64) class << 32 | at->renames) ^ nonce;
}

#endif
