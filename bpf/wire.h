/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What crosses the border between the kernel and the agent. Every struct is
 * fixed in size, padded by hand and mirrored in Go by bpf2go; wire_test.go
 * proves that both agree. Variable data follows a record, at the offsets that
 * the record gives.
 *
 * Pids are tgids of the initial pid namespace, ids are those of the initial
 * user namespace, times are nanoseconds after boot.
 */
#ifndef BAILIFF_WIRE_H
#define BAILIFF_WIRE_H

#define MAX_CLAUSES	  4096 /* bits of a vector: clauses of one hook */
#define VEC_WORDS	  (MAX_CLAUSES / 64)
#define MAX_SUBJECT_DIMS  12
#define MAX_OBJECT_DIMS	  8
#define MAX_ANCESTORS	  16
#define NUM_SLOTS	  4	/* generations that can exist side by side */
#define FILTER_WORDS	  1024	/* 65,536 bits in front of the objects map: directories */
#define FILE_FILTER_WORDS 16384 /* 1,048,576 bits: files */
#define NAME_KEY	  64	/* names of this length and more are in long_names */
#define LONG_NAME	  256	/* NAME_MAX + 1 */
#define SUFFIX_KEY	  24	/* longest suffix that a rule may test */
#define DIR_SLOTS	  4096	/* directories whose paths user space keeps at a time */
#define PATH_BYTES	  4096	/* longest path in a record, PATH_MAX */
#define ARG_BYTES	  4096	/* longest argument or environment block in a record */
#define EXE_PATH	  512	/* longest path kept for a running program */
#define MAX_SCOPES	  16
#define MAX_CGROUP_MODES  256 /* cgroups with a mode of their own */
#define MAX_CGROUP_LEVEL  64  /* below this depth a cgroup has the mode of the one above it */
#define CGROUP_PATH	  256
#define ENFORCE_ALL	  65536 /* mode: this many parts of all cgroups enforce */

enum hook {
	HOOK_NONE,
	HOOK_EXEC,
	HOOK_FORK,
	HOOK_OPEN,
	HOOK_EXIT,
	HOOK_MMAP,
	HOOK_CREATE,
	HOOK_LINK,
	HOOK_RENAME,
	HOOK_UNLINK,
	HOOK_TRUNCATE,
	HOOK_PTRACE,
	HOOK_RECEIVE,
};
#define NUM_JUDGED 3 /* exec, fork, open: packages of rules; index is hook - 1 */
/* Rules on arguments and environment are a row of tables of their own, after
 * those of the hooks: their clauses are bits of the exec row, in words of their
 * own, the first ones. */
#define ROW_COMMIT  NUM_JUDGED
#define HOOK_COMMIT (NUM_JUDGED + 1) /* where a row is named by hook */
#define NUM_ROWS    (NUM_JUDGED + 1)
enum verdict { VERDICT_NONE, VERDICT_ALLOW, VERDICT_ALERT, VERDICT_DENY };
enum effect { EFFECT_NONE, EFFECT_REFUSED, EFFECT_KILLED };
enum source { SOURCE_NONE, SOURCE_TABLE, SOURCE_CACHE, SOURCE_ENGINE, SOURCE_GATE, SOURCE_DEFAULT };

/* An inode. dev is s_dev (major << 20 | minor), gen is i_generation. */
struct file_id {
	__u32 dev;
	__u32 gen;
	__u64 ino;
};

/* A name in a directory. */
struct name_key {
	struct file_id dir;
	char name[NAME_KEY]; /* zero padded */
};

struct long_name_key {
	struct file_id dir;
	char name[LONG_NAME];
};

/* The last bytes of a name, last byte first. */
struct suffix_key {
	__u32 bits; /* prefix length, as the LPM trie wants it */
	char tail[SUFFIX_KEY];
};

/* Where a directory or a named file stands in the rules: flags of object. */
#define OBJECT_FILE   1 /* judged by class, wherever its name is */
#define OBJECT_PREFIX 2 /* files below are judged by class */
#define OBJECT_NAMES  4 /* names in it are in the names map */

struct object {
	__u32 class; /* of the file itself, if OBJECT_FILE */
	__u32 below; /* of what is below it, if OBJECT_PREFIX */
	__u32 flags;
};

/*
 * What a class of paths or names means in each dimension: numbers of vectors.
 * The hook is the index; file[HOOK_FORK - 1] is unused.
 */
struct class
{
	__u32 file[NUM_JUDGED];
	__u32 exe[NUM_JUDGED];
	__u32 parent[NUM_JUDGED];
	__u32 shell[NUM_JUDGED]; /* where it is that of the nearest shell */
	__u32 pad;
	__u32 pad2;
	__u64 ancestor; /* tests on ancestors that this path meets */
	__u64 idents;	/* identities of what is at this path: bits of ir.Program.Identities */
};

/* Bits of class.ancestor that are no tests. */
#define ANCESTOR_UNKNOWN (1ULL << 63) /* nothing is known of the program */
#define ANCESTOR_SHELL	 (1ULL << 62) /* it is a shell, or nothing is known of it */

#define CLASS_UNRESOLVED \
	0		 /* nothing is known: every condition counts as met  \
                            */
#define CLASS_OTHER    1 /* no rule names it */
#define CLASS_NO_SHELL 4 /* in place of the nearest shell where there is none */

/* A set of clauses. Bit i of sum says that w[i] is not zero. */
struct vec {
	__u64 sum;
	__u64 w[VEC_WORDS];
};

#define VEC_ONES 0 /* the vector that a missing dimension has */

/* One numeric dimension: bounds[base..base+count) cut the values of
 * (field & mask) into intervals; other != 0 means (field == other). */
struct dim {
	__u64 mask;
	__u32 base;
	__u32 count;
	__u8 field;
	__u8 other;
	__u8 pad[6];
};

struct bound {
	__u64 from; /* lowest value of the interval */
	__u32 vec;
	__u32 pad;
};

#include "textwire.h"

/* Digests of a file, in the order of event.Digests. */
enum digest_kind { DIGEST_SHA256, DIGEST_VERITY, DIGEST_KINDS };

/* A digest in the table of those that rules list, with what it is. */
struct digest_key {
	__u32 of; /* DIGEST_OF_CONTENT, VERITY_* */
	__u8 sum[32];
};

#define DIGEST_OF_CONTENT 0 /* SHA-256 */
/* Of fs-verity: algorithm and size, as the kernel writes them before the digest. */
#define VERITY_SHA256 (1 | 32 << 16)
#define VERITY_SHA512 (2 | 64 << 16)
/* The second half of a SHA-512; or'ed with what the table says of the first one. */
#define VERITY_REST 0x80000000u

/* An fs-verity digest as the kernel gives it, the rest zero. It begins like a
 * digest_key. */
struct verity {
	__u32 of; /* VERITY_*; 0: the file has none */
	__u8 sum[64];
};

/* What a decision key for the verdict cache is made of. */
#define KEY_EXE	   1
#define KEY_PARENT 2
#define KEY_IDS	   4
#define KEY_CGROUP 8
#define KEY_FILE   16 /* inode, directory, name */
#define KEY_OPEN   32
#define KEY_META   64 /* mode, owner, links of file and directory */
/* Gate only, and in no key: the verdict is for one exec that is given this. */
#define KEY_ARGS   128
#define KEY_ENV	   256
#define KEY_CWD	   512
#define KEY_SCRIPT 1024
#define KEY_GIVEN  (KEY_ARGS | KEY_ENV | KEY_CWD | KEY_SCRIPT)
#define KEY_NONE   0x80000000u /* the answer may not be cached */

/* What is to be done when an exec has succeeded. */
#define COMMIT_LATE  1 /* the generation has clauses of ROW_COMMIT */
#define COMMIT_GIVEN 2 /* and held rules that read what an exec is given */

struct hook_conf {
	__u32 clauses;	  /* number of bits in use */
	__u32 audit_from; /* certain clauses below this one block, from here on they
                       do not */
	__u32 alert_from; /* certain alert clauses */
	__u32 maybe_from; /* clauses of which a part is left to user space: undecided
                       deny first */
	__u32 maybe_allow_from;
	__u32 key;	/* KEY_* */
	__u32 kill_vec; /* clauses whose rule also kills */
	__u32 subject_dims;
	__u32 object_dims;
	__u32 uses_path; /* any condition on file.path / file.name */
	__u32 uses_name;
	__u32 all_vec;		/* every clause of this hook */
	__u32 other_empty;	/* no clause holds for a path that no rule names */
	__u32 maybe_alert_from; /* uncertain clauses of rules that would not block anyway */
	__u32 enforce_to;	/* certain clauses below this one block though the mode is audit */
	__u32 maybe_enforce_to; /* and those from maybe_from to here */
	__u32 held_to;		/* uncertain clauses below this are answered by the gate */
	__u32 held_deny_to;	/* and below this refused when it gave no answer */
	__u32 held_key;		/* KEY_* of the gate's answers */
	__u32 held_enforce_to;	/* and below this also where the mode is audit */
	__u32 uses_idents;	/* any condition on file.identities */
	__u32 uses_digest;	/* any condition on a digest: bits (1 << enum digest_kind) */
	__u32 uses_shell;	/* any condition on process.shell */
	__u32 pad;
	__u32 digest_vec[DIGEST_KINDS][4]; /* DIGEST_*: vectors of digests that are in no list */
	struct dim subject[MAX_SUBJECT_DIMS];
	struct dim object[MAX_OBJECT_DIMS];
};

/* One generation's constants. */
struct slot {
	__u32 generation;
	__u32 uses_names;   /* some dimension reads a last component */
	__u64 commit_words; /* words of the exec row's vectors that belong to ROW_COMMIT */
	struct hook_conf hook[NUM_ROWS];
	struct text_conf text;
	__u64 filter[FILTER_WORDS];
	__u64 files[FILE_FILTER_WORDS];
};

/* What is counted of a cgroup. A rate has two words that take turns: number of
 * a second (high half) and acts in it. */
struct cgroup_count {
	__s64 procs;
	__u64 rate[2][2]; /* exec, fork */
};

struct scope {
	__u64 cgroup;
	__u32 level; /* depth in the cgroup tree, the root being 0 */
	__u32 pad;
};

/* A cgroup's path below the cgroup2 mount, zero padded. */
struct cgroup_path {
	char path[CGROUP_PATH];
};

/* Who said which mode holds for an act. */
#define BY_ALL	  0
#define BY_RULE	  1
#define BY_CGROUP 2
#define BY_SHARE  3

/* What a verdict of user space that is kept is or'ed with when its rule blocks
 * though the mode is audit. */
#define VERDICT_ENFORCED 0x100

#define LIVE_CREDS 16

/* What user space sets, and when: at load unless it says otherwise. */
struct config {
	__u32 generation; /* 0: no rules; changed by one store */
	__u32 mode;    /* share of the cgroups that enforce: 0 (audit) to ENFORCE_ALL; one store */
	__u32 staging; /* generation being built; 0: none */
	__u32 agent;   /* tgid that is never judged */
	__u32 all_opens; /* emit an event for every open in scope */
	__u32 want_env;	 /* copy the environment block of a new image */
	__u32 pass;	 /* generation for which free passes count; 0: none do */
	__u32 live; /* hooks (bit hook - 1) of which a rule reads what may change at any time, and
		     * (bit hook - 1 + LIVE_CREDS) what only other credentials change */
	__u32 bindings; /* counts when paths of the policy are bound anew; odd while that is being done */
	__u32 scopes;	    /* number of entries in scope; 0: everything is in scope */
	__u32 commit;	    /* COMMIT_* */
	__u32 cgroup_modes; /* cgroups with a mode of their own; 0: nobody looks for them */
	__u32 rates;	    /* hooks (bit hook - 1) whose acts are counted by cgroup and second */
	__u32 digests;	    /* of what is executed, that the kernel has: DIGESTS_*; see digest.h */
	__u64 wall;	    /* wall clock minus boot clock (ns) */
	__u64 secret;	    /* of hashes that user space must not be able to aim at */
	struct scope scope[MAX_SCOPES];
};

/* Facts about one file. */
struct wire_file {
	struct file_id id;
	struct file_id dir;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__u32 nlink;
	__u32 dir_mode;
	__u32 dir_uid;
	__u32 traits; /* bits of event.Traits */
	__u32 unresolved;
	__u64 fs_magic;
	char fs_type[16];
	__u16 scratch; /* kernel only, while a record is made: see append_path */
	__u16 path_len;
	__u32 exe_id;
};

/* The acting process. */
struct wire_subject {
	__u64 exec_id; /* from here on like struct proc */
	__u64 parent_exec_id;
	__u64 start;
	__u64 cgroup;
	__u32 exe_id;
	__u32 parent_exe_id;
	__u32 ancestors;	       /* how many of ancestor are set */
	__u32 pid;		       /* (there it is something else) */
	__u32 ancestor[MAX_ANCESTORS]; /* exe ids, nearest first; until here */
	__u64 caps;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__u32 euid;
	__u32 gid;
	__u32 egid;
	__u32 loginuid;
	__u32 tty;
	__u32 mnt_ns;
	__u32 pid_ns;
	__u32 user_ns;
	__u32 traits; /* bits of event.ProcessTraits */
	char comm[16];
};

#define RECORD_NAME_ONLY  2 /* path has only the name, fs_type is empty: known by dir_number */
#define RECORD_UNDECIDED  1 /* a deferred rule had no verdict */
#define RECORD_MATCHED	  8 /* clause is valid */
#define RECORD_CACHEABLE  16
#define RECORD_ARGS_CUT	  32
#define RECORD_ENV_CUT	  64
#define RECORD_CHANGED_AT 256 /* file_age is the time of the change: ns of the wall clock */
#define RECORD_COMMIT \
	128 /* decided when the new image was in place, before its first instruction */
#define RECORD_DIGEST 512  /* sha256 is that of file */
#define RECORD_VERITY 1024 /* verity_off and verity_len are of file; none: it has no digest */

struct record {
	__u64 time;
	__u8 hook;
	__u8 verdict;
	__u8 effect;
	__u8 source;
	__u8 mode;    /* enum event.Mode that held for this act */
	__u8 mode_by; /* BY_* */
	__u16 flags;  /* RECORD_* */
	__u32 generation;
	__u32 clause; /* bit that decided */
	struct wire_subject subject;
	struct wire_file file;
	__u64 new_exec_id; /* exec, fork; ptrace: of the process that is attached to */
	__u64 fork_flags; /* ptrace: bits of event.TargetTraits; exec: effective capabilities of the new image */
	__u64 cgroup_procs;
	__u64 file_age;	   /* seconds; but see RECORD_CHANGED_AT */
	__u64 cgroup_rate; /* exec, fork: such acts in the cgroup within the last second */
	__u32 child;	   /* fork: tgid of the new process; ptrace: of the one that is attached to;
		      * exec: effective user id of the new image */
	__u32 open_flags;  /* bits of event.OpenFlags */
	__u32 exit_code;   /* as wait(2) gives it; exec: effective group id of the new image */
	__u32 bindings; /* settings.bindings when it was decided, odd if that changed; 0: it was not */
	__u32 dir_slot;	  /* open: where the path of the file's directory is kept, and its */
	__u32 dir_number; /* number there; 0: it has none */
	/* exec only, from here on */
	__u32 args_total; /* bytes of argv */
	__u32 stdio;	  /* bits of event.Stdio */
	__u16 args_off;	  /* variable data: offsets after the record */
	__u16 args_len;
	__u16 env_off;
	__u16 env_len;
	__u16 cwd_off;
	__u16 cwd_len;
	__u16 opened_off;
	__u16 opened_len;
	__u32 script_exe; /* exe id of the script that led to file */
	__u32 cwd_dev;
	__u32 interp_len; /* not 0 if the verdict is about a script, which is then file; */
	__u32 interp_dev; /* the data begin with the path of its interpreter */
	char comm[16];	  /* of the new image */
	__u8 sha256[32];
	__u16 verity_off; /* struct verity */
	__u16 verity_len;
	__u32 pad;
};

/* Which program a process runs: the file and the place where it was found. */
struct exe_key {
	struct file_id id;
	struct file_id dir;
	char name[NAME_KEY]; /* cut: longer names share a number only if they share
                          this */
};

struct exe_info {
	struct wire_file file;
	__u16 path_len;
	__u16 pad[3];
	char path[EXE_PATH];
};

struct exe_class {
	__u32 path;
	__u32 name;
};

/* Key of a verdict that user space gave; parts that no deferred rule reads are
 * zero. */
struct verdict_key {
	__u32 generation;
	__u32 hook;
	__u32 exe_id;
	__u32 parent_exe_id;
	__u32 uid;
	__u32 euid;
	__u32 gid;
	__u32 egid;
	__u64 cgroup;
	struct file_id file;
	struct file_id dir;
	__u32 mode;
	__u32 owner;
	__u32 group;
	__u32 nlink;
	__u32 dir_mode;
	__u32 dir_uid;
	__u32 open_flags;
	__u32 traits;
	__u64 path; /* hash of the path within its filesystem, with a secret */
	char name[NAME_KEY];
};

#include "gatewire.h"

/* The identify program: what an open descriptor of the caller refers to. */
#define CHAIN 64
struct identity_of {
	__u32 fd;
	__u32 pad;
};

struct identity {
	__u32 depth; /* directories in chain; CHAIN means maybe more */
	__u32 is_dir;
	struct file_id id;
	struct file_id chain[CHAIN]; /* the directory, its parent, ... up to the
                                  filesystem's root */
};

#include "trialwire.h"

#include "counters.h"

#endif
