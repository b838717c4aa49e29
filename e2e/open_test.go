package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiff/internal/event"
)

// identityPolicy reads a name that the bundle's data must give to some file.
const identityPolicy = `package bailiff.open

# METADATA
# title: A file with a protected name is opened
# custom: {id: e2e-identity}
deny contains {"message": "identity"} if "guarded" in input.file.identities
`

const openPolicy = `package bailiff.open

# METADATA
# title: A protected file is opened
# custom: {id: e2e-secret, severity: high}
deny contains {"message": sprintf("%s opened %s", [input.process.exe.path, input.file.path])} if {
	input.file.path in data.e2e.secrets
}

# METADATA
# title: A file below a protected directory is opened
# custom: {id: e2e-vault}
deny contains {"message": "vault"} if {
	some dir in data.e2e.vaults
	startswith(input.file.path, dir)
	not "directory" in input.open.flags
}

# METADATA
# title: A file with a protected ending is opened
# custom: {id: e2e-suffix}
deny contains {"message": "suffix"} if endswith(input.file.path, ".e2e-denied")

# METADATA
# title: A user writes to a file that it may only read
# custom: {id: e2e-readonly}
deny contains {"message": "readonly"} if {
	input.file.path in data.e2e.readonly
	"write" in input.open.flags
}

# METADATA
# title: A user opens what is not for it
# custom: {id: e2e-user}
deny contains {"message": "user"} if {
	input.process.euid == 4242
	input.file.name == "not-for-4242"
}
`

// route is one way to a file. Each has a directory d of its own, in which
// d/secret is named by the policy, d/vault/ is a protected directory, and
// d/plain is not protected.
type route struct {
	name   string
	rule   string                    // the rule that must deny; "" means that the open must succeed
	prep   func(w *world, d string)  // before the agent starts
	late   func(w *world, d string)  // while it runs, by a process outside the scope
	steps  func(d string) [][]string // the last one is judged
	hooked bool                      // only a hook in the kernel sees it: it is no system call
	first  event.Hook                // of an earlier step that is refused already; 0: none is
}

func steps(s ...[]string) [][]string { return s }

// routes is every way to reach a protected file that the policy does not name,
// and some to reach files that only look like it.
func routes() []route {
	secret := func(d string) string { return filepath.Join(d, "secret") }
	in := func(d, name string) string { return filepath.Join(d, name) }
	return []route{
		{name: "direct", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"open", secret(d)}) }},
		{name: "for writing", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"open", secret(d), "w"}) }},
		{name: "truncating", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"open", secret(d), "trunc"}) }},
		{name: "relative", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"chdir", d}, []string{"open", "secret"}) }},
		{name: "dots", rule: "e2e-secret", steps: func(d string) [][]string {
			return steps([]string{"open", d + "/vault/../../" + filepath.Base(d) + "/./secret"})
		}},
		{name: "symlink", rule: "e2e-secret",
			prep:  func(w *world, d string) { w.must(os.Symlink(secret(d), in(d, "sym"))) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "sym")}) }},
		{name: "symlinked directory", rule: "e2e-secret",
			prep:  func(w *world, d string) { w.must(os.Symlink(d, in(d, "self"))) },
			steps: func(d string) [][]string { return steps([]string{"open", d + "/self/self/secret"}) }},
		{name: "proc self root", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"open", "/proc/self/root" + secret(d)}) }},
		{name: "proc self cwd", rule: "e2e-secret", steps: func(d string) [][]string {
			return steps([]string{"chdir", d}, []string{"open", "/proc/self/cwd/secret"})
		}},
		{name: "proc self fd", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"opath", secret(d)}) }},
		{name: "file handle", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"handle", secret(d)}) }},
		{name: "io_uring", rule: "e2e-secret", hooked: true, steps: func(d string) [][]string { return steps([]string{"uring", secret(d)}) }},
		{name: "from a thread", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"thread", "open", secret(d)}) }},
		{name: "hard link of before", rule: "e2e-secret",
			prep:  func(w *world, d string) { w.must(os.Link(secret(d), in(d, "hard"))) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "hard")}) }},
		{name: "hard link", rule: "e2e-secret", first: event.HookLink, steps: func(d string) [][]string {
			return steps([]string{"link", secret(d), in(d, "hard")}, []string{"open", in(d, "hard")})
		}},
		{name: "renamed", rule: "e2e-secret", first: event.HookRename, steps: func(d string) [][]string {
			return steps([]string{"rename", secret(d), in(d, "moved")}, []string{"open", in(d, "moved")})
		}},
		{name: "parent renamed", rule: "e2e-secret", steps: func(d string) [][]string {
			return steps([]string{"rename", d, d + "-moved"}, []string{"open", d + "-moved/secret"})
		}},
		{name: "renamed and looked for", rule: "e2e-secret",
			late:  func(w *world, d string) { w.renamed(secret(d), in(d, "moved")) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "moved")}) }},
		{name: "parent renamed and looked for", rule: "e2e-secret",
			late:  func(w *world, d string) { w.renamed(d, d+"-moved") },
			steps: func(d string) [][]string { return steps([]string{"open", d + "-moved/secret"}) }},
		{name: "bind mount over an innocent file", rule: "e2e-secret", steps: func(d string) [][]string {
			return steps([]string{"unshare"}, []string{"bind", secret(d), in(d, "plain")}, []string{"open", in(d, "plain")})
		}},
		{name: "bind mount of the directory", rule: "e2e-secret",
			prep: func(w *world, d string) { w.must(os.Mkdir(in(d, "mnt"), 0o755)) },
			steps: func(d string) [][]string {
				return steps([]string{"unshare"}, []string{"bind", d, in(d, "mnt")}, []string{"open", in(d, "mnt/secret")})
			}},
		{name: "own mount namespace", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"unshare"}, []string{"open", secret(d)}) }},
		{name: "chroot", rule: "e2e-secret", steps: func(d string) [][]string { return steps([]string{"chroot", d}, []string{"open", "/secret"}) }},
		{name: "replaced by rename", rule: "e2e-secret",
			late: func(w *world, d string) {
				w.must(os.WriteFile(in(d, "new"), []byte("new"), 0o644))
				w.must(os.Rename(in(d, "new"), secret(d)))
			},
			steps: func(d string) [][]string { return steps([]string{"open", secret(d)}) }},
		{name: "removed and made anew", rule: "e2e-secret",
			late: func(w *world, d string) {
				w.must(os.Remove(secret(d)))
				w.must(os.WriteFile(secret(d), []byte("again"), 0o644))
			},
			steps: func(d string) [][]string { return steps([]string{"open", secret(d)}) }},
		{name: "appears later", rule: "e2e-secret",
			prep:  func(w *world, d string) { w.must(os.Remove(secret(d))) },
			late:  func(w *world, d string) { w.must(os.WriteFile(secret(d), []byte("late"), 0o644)) },
			steps: func(d string) [][]string { return steps([]string{"open", secret(d)}) }},

		{name: "below a directory", rule: "e2e-vault", steps: func(d string) [][]string { return steps([]string{"open", in(d, "vault/file")}) }},
		{name: "below a directory that is renamed", rule: "e2e-vault", steps: func(d string) [][]string {
			return steps([]string{"rename", in(d, "vault"), in(d, "x")}, []string{"open", in(d, "x/a/b/c/file")})
		}},
		{name: "below a directory that was renamed and looked for", rule: "e2e-vault",
			late:  func(w *world, d string) { w.renamed(in(d, "vault"), in(d, "x")) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "x/a/b/c/file")}) }},
		{name: "deep below a directory", rule: "e2e-vault", steps: func(d string) [][]string { return steps([]string{"open", in(d, "vault/a/b/c/file")}) }},
		{name: "path longer than PATH_MAX", rule: "e2e-vault",
			prep:  func(w *world, d string) { w.must(makeDeep(in(d, "vault"), longPath())) },
			steps: func(d string) [][]string { return steps([]string{"deep", in(d, "vault"), longPath() + "/file"}) }},
		{name: "below a directory by bind mount", rule: "e2e-vault",
			prep: func(w *world, d string) { w.must(os.Mkdir(in(d, "mnt"), 0o755)) },
			steps: func(d string) [][]string {
				return steps([]string{"unshare"}, []string{"bind", in(d, "vault/a"), in(d, "mnt")}, []string{"open", in(d, "mnt/b/c/file")})
			}},
		{name: "below a directory by chroot", rule: "e2e-vault", steps: func(d string) [][]string {
			return steps([]string{"chroot", in(d, "vault/a")}, []string{"open", "/b/c/file"})
		}},
		{name: "new directory below a directory", rule: "e2e-vault",
			late: func(w *world, d string) {
				w.must(os.Mkdir(in(d, "vault/late"), 0o755))
				w.must(os.WriteFile(in(d, "vault/late/file"), nil, 0o644))
			},
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "vault/late/file")}) }},
		{name: "created below a directory", rule: "e2e-vault", first: event.HookCreate, steps: func(d string) [][]string { return steps([]string{"open", in(d, "vault/made"), "create"}) }},
		{name: "seen elsewhere, then its directory moved below one", rule: "e2e-vault", first: event.HookRename,
			prep: func(w *world, d string) { w.write(in(d, "out/x/y/file"), []byte("content"), 0o644) },
			steps: func(d string) [][]string {
				return steps([]string{"open", in(d, "out/x/y/file")}, []string{"open", in(d, "out/x/y/file")},
					[]string{"rename", in(d, "out/x"), in(d, "vault/x")}, []string{"open", in(d, "vault/x/y/file")})
			}},
		{name: "suffix", rule: "e2e-suffix",
			prep:  func(w *world, d string) { w.must(os.WriteFile(in(d, "x.e2e-denied"), nil, 0o644)) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "x.e2e-denied")}) }},
		{name: "only writing is denied, write", rule: "e2e-readonly", steps: func(d string) [][]string { return steps([]string{"open", in(d, "readonly"), "w"}) }},
		{name: "after a change of user", rule: "e2e-user",
			prep: func(w *world, d string) { w.must(os.WriteFile(in(d, "not-for-4242"), nil, 0o644)) },
			steps: func(d string) [][]string {
				return steps([]string{"setuid", "4242"}, []string{"open", in(d, "not-for-4242")})
			}},
		{name: "identity", rule: "e2e-identity", steps: func(d string) [][]string { return steps([]string{"open", in(d, "guarded")}) }},
		{name: "identity by hard link", rule: "e2e-identity", first: event.HookLink, steps: func(d string) [][]string {
			return steps([]string{"link", in(d, "guarded"), in(d, "hard")}, []string{"open", in(d, "hard")})
		}},
		{name: "identity by bind mount", rule: "e2e-identity", steps: func(d string) [][]string {
			return steps([]string{"unshare"}, []string{"bind", in(d, "guarded"), in(d, "plain")}, []string{"open", in(d, "plain")})
		}},
		{name: "identity moved away", rule: "e2e-identity",
			late: func(w *world, d string) {
				w.rebound(func() { w.must(os.Rename(in(d, "guarded"), in(d, "moved"))) })
			},
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "moved")}) }},
		{name: "identity replaced", rule: "e2e-identity",
			late: func(w *world, d string) {
				w.must(os.WriteFile(in(d, "new"), []byte("new"), 0o644))
				w.rebound(func() { w.must(os.Rename(in(d, "new"), in(d, "guarded"))) })
				w.must(os.Link(in(d, "guarded"), in(d, "hard")))
			},
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "hard")}) }},
		{name: "identity that another file has now",
			late: func(w *world, d string) {
				w.must(os.Rename(in(d, "guarded"), in(d, "old")))
				w.rebound(func() { w.must(os.WriteFile(in(d, "guarded"), []byte("new"), 0o644)) })
			},
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "old")}) }},

		{name: "only writing is denied, read", steps: func(d string) [][]string { return steps([]string{"open", in(d, "readonly")}) }},
		{name: "another user", prep: func(w *world, d string) { w.must(os.WriteFile(in(d, "not-for-4242"), nil, 0o644)) },
			steps: func(d string) [][]string {
				return steps([]string{"setuid", "4243"}, []string{"open", in(d, "not-for-4242")})
			}},
		{name: "same name elsewhere", prep: func(w *world, d string) { w.write(in(d, "other/secret"), []byte("content"), 0o644) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "other/secret")}) }},
		{name: "longer name", prep: func(w *world, d string) { w.must(os.WriteFile(in(d, "secret2"), nil, 0o644)) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "secret2")}) }},
		{name: "beside a directory with a longer name", prep: func(w *world, d string) { w.write(in(d, "vaulted/file"), nil, 0o644) },
			steps: func(d string) [][]string { return steps([]string{"open", in(d, "vaulted/file")}) }},
		{name: "same path in a chroot", prep: func(w *world, d string) { w.write(filepath.Join(d, "root", secret(d)), nil, 0o644) },
			steps: func(d string) [][]string {
				return steps([]string{"chroot", in(d, "root")}, []string{"open", secret(d)})
			}},
		{name: "not protected", steps: func(d string) [][]string { return steps([]string{"open", in(d, "plain")}) }},
	}
}

// longPath is longer than the 4096 bytes that one path may have.
func longPath() string {
	return strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 200)+"/", 25), "/")
}

// makeDeep makes directories below top that no single path reaches, with a file at the end.
func makeDeep(top, rel string) error {
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	for _, d := range strings.Split(rel, "/") {
		if err := root.Mkdir(d, 0o755); err != nil {
			return err
		}
		next, err := root.OpenRoot(d)
		root.Close()
		if err != nil {
			return err
		}
		root = next
	}
	defer root.Close()
	f, err := root.Create("file")
	if err != nil {
		return err
	}
	return f.Close()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestOpen shows that a protected file is judged by what it is and not by what
// it is called: by every route the open is denied, in enforce mode with EPERM,
// in audit mode only on record.
func TestOpen(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		modes := modesOf(backend)
		if !refuses(backend) {
			modes = modes[1:] // opens are on record, whatever the mode
		}
		for _, mode := range modes {
			t.Run(mode.String(), func(t *testing.T) { testRoutes(t, backend, mode) })
		}
	})
}

func testRoutes(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	all := routes()
	dirs := make([]string, len(all))
	var secrets, vaults, readonly, guarded []string
	for i, r := range all {
		d := w.path(strings.ReplaceAll(r.name, " ", "-"))
		dirs[i] = d
		for _, f := range []string{"secret", "plain", "readonly", "guarded", "vault/file", "vault/a/b/c/file"} {
			w.write(filepath.Join(d, f), []byte("content"), 0o644)
		}
		if r.prep != nil {
			r.prep(w, d)
		}
		secrets = append(secrets, filepath.Join(d, "secret"))
		vaults = append(vaults, filepath.Join(d, "vault")+"/")
		readonly = append(readonly, filepath.Join(d, "readonly"))
		guarded = append(guarded, filepath.Join(d, "guarded"))
	}
	w.policy(map[string]any{"secrets": secrets, "vaults": vaults, "readonly": readonly}, map[string]string{"open": openPolicy, "identity": identityPolicy})
	w.identities(map[string][]string{"guarded": guarded})
	w.start(mode)
	for i, r := range all {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			if r.hooked && !refuses(backend) {
				t.Skip("the " + backend + " backend sees only what a system call opens")
			}
			if r.late != nil {
				r.late(w, dirs[i])
			}
			o, events := w.do(w.actor(), r.steps(dirs[i])...)
			want := syscall.Errno(0)
			effect, hook, last := event.EffectNone, event.HookOpen, len(r.steps(dirs[i]))
			if r.rule != "" && mode == event.ModeEnforce {
				want, effect = syscall.EPERM, event.EffectRefused
				if r.first != 0 {
					hook, last = r.first, len(o.Steps)
				}
			}
			if o.Last() != want || len(o.Steps) != last {
				t.Errorf("got %v, want errno %d at the last step", o, want)
			}
			if r.rule == "" {
				if e := anyDenial(events); e != nil {
					t.Errorf("denied on record: %s", show(e))
				}
				return
			}
			found := denials(events, hook, r.rule)
			if len(found) == 0 {
				t.Fatalf("no event of the denial among %d", len(events))
			}
			d := found[len(found)-1].Decision
			if d.Effect != effect || d.Mode != mode || d.Revision == "" || d.Divergence {
				t.Errorf("decision is %+v, want effect %v in mode %v", d, effect, mode)
			}
		})
	}
	w.stop()
}

// in is the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	c := *w
	c.t = t
	return &c
}
