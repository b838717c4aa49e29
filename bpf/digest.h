/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Digests of what is executed. SHA-256 of the content is computed by the kernel
 * (IMA) while the exec is judged. That reads the file and may sleep, which the
 * programs that decide may not: a program of its own computes it and leaves it in
 * the task's room, and exec_check, which the kernel calls next, takes it from
 * there. The digest of fs-verity comes the same way (verity.h). Nothing rests on
 * that order: a digest that is not of this file and of this exec is not known.
 */
#ifndef BAILIFF_DIGEST_H
#define BAILIFF_DIGEST_H

/* enum hash_algo: what IMA says that it has computed. */
#define HASH_ALGO_SHA256 4

/* Longer than the kernel's clock for change times stands still (ns). */
#define DIGEST_TICK 50000000ULL

/* A larger file has none: nothing ends who reads it, and it may have holes. */
#define DIGEST_MAX (1LL << 30)

/* Digests that have no vector of their own. */
#define DIGEST_UNKNOWN 0
#define DIGEST_OTHER   1 /* no rule lists it */
#define DIGEST_NONE    2 /* there is none: of fs-verity, and where it is no exec that is judged */

/* settings.digests: bits (1 << enum digest_kind) of those that programs leave, and
 * this one while the agent tries out whether that works. */
#define DIGESTS_TRIED 4

enum digest_state {
	DIGEST_IDLE,
	DIGEST_ASKING, /* digest_ask finds out whether it is needed */
	DIGEST_WANTED,
	DIGEST_THERE,
};

/* A digest on its way from program to program, by task: threads of one process
 * may be on their way to an exec at once. */
struct digest_room {
	__u64 bprm; /* addresses, to compare */
	__u64 inode;
	__u32 state;
	__u32 test;	/* the agent tries out whether this works, with a file of its own */
	__u32 measured; /* verity says what the file has */
	struct digest_key content;
	struct verity verity;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct digest_room);
} digest_rooms SEC(".maps");

/* What is known of a file's content. A fact, never a verdict: it goes with the
 * inode when that leaves memory, and is then computed anew. */
struct digest_known {
	__u64 seq; /* odd while somebody writes */
	struct validity of;
	__u64 since; /* boot time when the file was first seen to be this (ns) */
	__u64 sure;  /* sum is the digest of that */
	__u8 sum[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct digest_known);
} digests_known SEC(".maps");

struct digests_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct digest_key);
	__type(value, __u32);
};

/* digest -> vector of the clauses of an exec that it meets: those that rules list.
 * Of the first half of a long one: a number. User space when staging. */
GENERATIONS(digests, digests_inner);

static __always_inline struct digest_room *digest_room(__u64 flags)
{
	return bpf_task_storage_get(&digest_rooms, bpf_get_current_task_btf(), 0, flags);
}

/* The room, as one for this file of this exec. */
static __always_inline struct digest_room *digest_room_for(struct linux_binprm *bprm)
{
	struct digest_room *room = digest_room(BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (room && (room->bprm != (__u64)bprm || room->inode != (__u64)bprm->file->f_inode)) {
		room->bprm = (__u64)bprm;
		room->inode = (__u64)bprm->file->f_inode;
		room->state = DIGEST_IDLE;
		room->measured = 0;
	}
	return room;
}

/* A file in memory that the agent executes tells it whether this works. */
static __always_inline bool digest_tried(struct task_struct *t, struct inode *inode)
{
	return settings.digests & DIGESTS_TRIED && t->real_parent->tgid == settings.agent &&
	       inode->i_sb->s_flags & SB_KERNMOUNT;
}

/* May rules concern what this process executes? Its digests are asked for then, and
 * where the agent tries out whether that works. */
static __always_inline bool digest_concerns(const struct proc *p, bool test)
{
	return test || (p && p->flags & PROC_SCOPE && !(p->flags & PROC_RESCUE));
}

/* What the table says of an fs-verity digest. A long one is looked for in two steps. */
static __always_inline __u32 *verity_listed(void *map, const struct verity *v)
{
	__u32 *listed = bpf_map_lookup_elem(map, v);
	struct digest_key rest;

	if (!listed || v->of != VERITY_SHA512)
		return listed;
	rest.of = VERITY_REST | *listed;
	__builtin_memcpy(rest.sum, v->sum + sizeof(rest.sum), sizeof(rest.sum));
	return bpf_map_lookup_elem(map, &rest);
}

/* Finds the vectors, in the generation at index, of the digests that were left for
 * this file. A file without one is told from one that no rule lists. */
__noinline int digest_look_up(struct object_ref *o, __u32 index)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct hook_conf *hc;
	struct digest_room *room;
	__u32 *listed;
	void *map;

	if (!o || !s)
		return 0;
	hc = &s->hook[HOOK_EXEC - 1];
	o->blind = 0;
	o->digest = hc->digest_vec[DIGEST_SHA256][DIGEST_NONE];
	o->verity = hc->digest_vec[DIGEST_VERITY][DIGEST_NONE];
	if (o->hook != HOOK_EXEC)
		return 0;
	map = bpf_map_lookup_elem(&digests, &index);
	room = digest_room(0);
	if (!map || (room && room->inode != o->inode))
		room = NULL;
	if (hc->uses_digest & 1 << DIGEST_SHA256) {
		if (room && room->state == DIGEST_ASKING) {
			/* Not computed yet: every condition on it counts as met. */
			o->digest = VEC_ONES;
		} else if (room && map && room->state == DIGEST_THERE) {
			listed = bpf_map_lookup_elem(map, &room->content);
			o->digest = listed ? *listed : hc->digest_vec[DIGEST_SHA256][DIGEST_OTHER];
		} else {
			o->blind = 1;
			o->digest = hc->digest_vec[DIGEST_SHA256][DIGEST_UNKNOWN];
		}
	}
	if (hc->uses_digest & 1 << DIGEST_VERITY) {
		if (!room || !map || !room->measured) {
			o->blind = 1;
			o->verity = hc->digest_vec[DIGEST_VERITY][DIGEST_UNKNOWN];
		} else if (room->verity.of) {
			listed = verity_listed(map, &room->verity);
			o->verity = listed ? *listed : hc->digest_vec[DIGEST_VERITY][DIGEST_OTHER];
		}
	}
	return 0;
}

/* An exec is about to be judged: what was left for another one does not count.
 * True if the agent only tries out the programs: nobody is to hear of that, but
 * it must see that the digest has come this far. */
static __always_inline bool digest_begin(struct linux_binprm *bprm, struct inode *inode)
{
	struct digest_room *room = digest_room(0);

	if (!room)
		return false;
	if (room->bprm != (__u64)bprm || room->inode != (__u64)inode) {
		room->state = DIGEST_IDLE;
		room->measured = 0;
		room->test = 0;
	}
	if (room->test && room->state == DIGEST_THERE)
		count(COUNT_DIGEST_KNOWN);
	if (room->measured)
		count(COUNT_VERITY_KNOWN);
	return room->test;
}

/* It was judged. The digests are good for this once, and for the record. */
__noinline int digest_end(struct digest *d)
{
	struct digest_room *room = digest_room(0);

	if (!d || !room)
		return 0;
	if (room->state == DIGEST_THERE) {
		__builtin_memcpy(d->sum, room->content.sum, sizeof(d->sum));
		d->known |= 1 << DIGEST_SHA256;
	}
	if (room->measured) {
		__builtin_memcpy(&d->verity, &room->verity, sizeof(d->verity));
		d->known |= 1 << DIGEST_VERITY;
	}
	room->state = DIGEST_IDLE;
	room->measured = 0;
	return 0;
}

/* The inode below that of an overlay; NULL if that is a lower one. */
static __always_inline struct inode *upper_inode(struct inode *inode)
{
	struct dentry *upper = NULL;

	bpf_probe_read_kernel(&upper, sizeof(upper),
			      (void *)((__u64)inode + bpf_core_type_size(struct inode)));
	return upper ? BPF_CORE_READ(upper, d_inode) : NULL;
}

/*
 * Filesystems that note in the inode the time of every write, those through
 * mappings too. That of an overlay does not tell of writes to the one below; a
 * lower one is not written.
 */
static __always_inline bool digest_stamps(struct inode *inode)
{
	switch (inode->i_sb->s_magic) {
	case EXT4_MAGIC:
	case XFS_MAGIC:
	case BTRFS_MAGIC:
	case F2FS_MAGIC:
	case SQUASHFS_MAGIC:
	case EROFS_MAGIC:
	case ISOFS_MAGIC: return true;
	case OVERLAYFS_MAGIC: return !upper_inode(inode);
	}
	return false;
}

/* Who has created a memfd can write it while it is executed: nobody counts him.
 * Unless it is sealed. */
static __always_inline bool unsealed(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;
	struct shmem_inode_info *info;

	info = (void *)((__u64)inode - bpf_core_field_offset(struct shmem_inode_info, vfs_inode));
	if (!(sb->s_flags & SB_KERNMOUNT))
		return false;
	if (sb->s_magic != TMPFS_MAGIC)
		return sb->s_magic == HUGETLBFS_MAGIC;
	return !(BPF_CORE_READ(info, seals) & F_SEAL_WRITE);
}

/* Somebody can write what is about to run: its digest would say nothing. A mapping
 * of a file in an overlay is one of the file below. */
static __always_inline bool writable_now(struct inode *inode)
{
	if (*(volatile int *)&inode->i_writecount.counter > 0)
		return true;
	if (inode->i_sb->s_magic == OVERLAYFS_MAGIC)
		return BPF_CORE_READ(upper_inode(inode), i_writecount.counter) > 0;
	return unsealed(inode);
}

static __always_inline bool same_content(const struct validity *a, const struct validity *b)
{
	return a->ctime == b->ctime && a->size == b->size && a->version == b->version;
}

/* Puts into the room what is known of this content, if it is. */
static __always_inline bool digest_found(struct digest_known *k, const struct validity *now,
					 struct digest_room *room)
{
	__u64 seq = __sync_fetch_and_add(&k->seq, 0);

	if (seq & 1 || !k->sure || !same_content(&k->of, now))
		return false;
	__builtin_memcpy(room->content.sum, k->sum, sizeof(k->sum));
	return __sync_fetch_and_add(&k->seq, 0) == seq;
}

/*
 * Keeps a digest. A file that is changed once more within a tick of the clock
 * keeps its change time, so one is kept only of what was seen to be the same for
 * longer than that before it was read. Who comes in between others keeps nothing.
 */
static __always_inline void digest_keep(struct digest_known *k, const struct validity *of,
					__u64 began, const struct digest_room *room)
{
	__u64 seq = __sync_fetch_and_add(&k->seq, 0);

	if (seq & 1 || __sync_val_compare_and_swap(&k->seq, seq, seq + 1) != seq)
		return;
	if (!same_content(&k->of, of)) {
		k->sure = 0;
		k->of = *of;
		k->since = began;
	} else if (!k->sure && began - k->since >= DIGEST_TICK) {
		__builtin_memcpy(k->sum, room->content.sum, sizeof(k->sum));
		k->sure = 1;
	}
	__sync_fetch_and_add(&k->seq, 1);
}

/* Leaves the digest of the file in the task's room, if it is wanted and can be had. */
static __always_inline int digest_compute(struct linux_binprm *bprm)
{
	struct digest_room *room = digest_room(0);
	struct inode *inode = bprm->file->f_inode;
	struct validity before = {}, after = {};
	struct digest_known *known = NULL;
	__u64 began;

	if (!room || room->state != DIGEST_WANTED || room->bprm != (__u64)bprm ||
	    room->inode != (__u64)inode)
		return 0;
	room->state = DIGEST_IDLE;
	if (inode->i_size > DIGEST_MAX || (!room->test && writable_now(inode)))
		return 0;
	validity_of(&before, inode);
	if (digest_stamps(inode))
		known = bpf_inode_storage_get(&digests_known, inode, 0,
					      BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (known && digest_found(known, &before, room)) {
		count(COUNT_DIGEST_KNOWN);
		room->state = DIGEST_THERE;
		return 0;
	}
	began = bpf_ktime_get_boot_ns();
	if (bpf_ima_file_hash(bprm->file, room->content.sum, sizeof(room->content.sum)) !=
	    HASH_ALGO_SHA256)
		return 0;
	/* Some kernels (6.11 to 6.12.1) let in a writer while a program is executed. */
	validity_of(&after, inode);
	if (!same_content(&before, &after) || (!room->test && writable_now(inode)))
		return 0;
	count(COUNT_DIGEST_COMPUTED);
	if (known)
		digest_keep(known, &after, began, room);
	room->state = DIGEST_THERE;
	return 0;
}

#endif
