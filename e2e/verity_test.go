package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/digest"
	"example.com/bailiff/internal/event"
)

const verityPolicy = `package bailiff.exec

# METADATA
# title: A program is run that is known to be bad
# custom: {id: e2e-bad, undecided: hold, deadline: deny}
deny contains sprintf("%s is %s", [input.file.path, input.file.verity]) if {
	startswith(input.file.path, data.e2e.dir)
	input.file.verity in data.e2e.bad
}

# METADATA
# custom: {id: e2e-unlisted, undecided: hold, deadline: deny}
deny contains "not listed" if {
	startswith(input.file.path, data.e2e.listed)
	not input.file.verity in data.e2e.good
}

# METADATA
# custom: {id: e2e-one, undecided: hold, deadline: deny}
deny contains "exactly this" if {
	startswith(input.file.path, data.e2e.dir)
	input.file.verity == data.e2e.one
}

# METADATA
# custom: {id: e2e-none, undecided: hold, deadline: deny}
deny contains "without a digest" if {
	startswith(input.file.path, data.e2e.strict)
	input.file.verity == ""
}

# METADATA
# custom: {id: e2e-some, undecided: hold, deadline: deny}
deny contains "with a digest" if {
	startswith(input.file.path, data.e2e.plain)
	input.file.verity != ""
}
`

// What only a kernel decides that tells programs of fs-verity: with arguments, when
// nobody waits, a part of a digest, and beside SHA-256.
const kernelVerityPolicy = `package bailiff.exec

# METADATA
# custom: {id: e2e-called}
deny contains "this one, so called" if {
	input.file.verity in data.e2e.called
	"--evil" in input.args
}

# METADATA
# custom: {id: e2e-part}
alert contains "sha512" if {
	startswith(input.file.path, data.e2e.dir)
	startswith(input.file.verity, "sha512:")
}

# METADATA
# custom: {id: e2e-both, undecided: deny}
deny contains "this content, unless it is sealed" if {
	startswith(input.file.path, data.e2e.both)
	input.file.sha256 == data.e2e.content
	not input.file.verity in data.e2e.good
}
`

// enableVerity is FS_IOC_ENABLE_VERITY of linux/fsverity.h.
const enableVerity = 0x40806685

type verityArg struct {
	version, algorithm, block, saltSize uint32
	salt                                uint64
	_                                   [13]uint64
}

// seal enables fs-verity on a file. Algorithm 1 is SHA-256, 2 SHA-512.
func seal(name string, algorithm uint32, salt []byte) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	arg := verityArg{version: 1, algorithm: algorithm, block: 4096, saltSize: uint32(len(salt))}
	if len(salt) > 0 {
		arg.salt = uint64(uintptr(unsafe.Pointer(&salt[0])))
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), enableVerity, uintptr(unsafe.Pointer(&arg)))
	runtime.KeepAlive(salt)
	if errno != 0 {
		return errno
	}
	return nil
}

// verityOf computes the digest that a file of at most one block has when it is
// sealed with SHA-256: by whoever writes the rules, on another machine.
func verityOf(content []byte) string {
	block := append(bytes.Clone(content), make([]byte, 4096-len(content))...)
	root := sha256.Sum256(block)
	descriptor := make([]byte, 256)
	descriptor[0], descriptor[1], descriptor[2] = 1, 1, 12 // version, SHA-256, log of the block's size
	binary.LittleEndian.PutUint64(descriptor[8:], uint64(len(content)))
	copy(descriptor[16:], root[:])
	sum := sha256.Sum256(descriptor)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// verityWorld is where programs are tried that are known by their fs-verity digest.
type verityWorld struct {
	*digestWorld
	kernel bool // decides, and not the gate
}

// sealed writes a program and enables fs-verity on it.
func (w *verityWorld) sealed(content []byte, elem ...string) string {
	w.t.Helper()
	name := w.in(elem...)
	w.write(name, content, 0o755)
	w.must(seal(name, 1, nil))
	if got := w.measured(name); got != verityOf(content) {
		w.t.Fatalf("%s: measured %s, computed %s", name, got, verityOf(content))
	}
	return name
}

func (w *verityWorld) measured(name string) string {
	w.t.Helper()
	f, err := os.Open(name)
	w.must(err)
	defer f.Close()
	var fs unix.Statfs_t
	w.must(unix.Fstatfs(int(f.Fd()), &fs))
	got, err := digest.Verity(int(f.Fd()), uint64(fs.Type))
	w.must(err)
	return got
}

// passes: the program runs, and where rules have read its digest the record has it.
func (w *verityWorld) passes(name string, args ...string) []*event.Event {
	w.t.Helper()
	o, events := w.do(w.actor(), append([]string{"exec", name}, args...))
	if o.Exit != harness.MarkerExit || !ran(w.marker) {
		w.t.Fatalf("%s: got %v\n%s", name, o, showAll(events))
	}
	w.must(os.Remove(w.marker))
	for _, e := range events {
		if e.Hook == event.HookExec && e.File != nil && e.File.Path == name && (w.kernel || e.Decision.Source == event.SourceGate) {
			w.recorded(name, e)
		}
	}
	return events
}

func (w *verityWorld) recorded(name string, e *event.Event) {
	w.t.Helper()
	want := w.measured(name)
	if want == "" {
		want = event.NoVerity
	}
	if e.File.Verity != want {
		w.t.Errorf("%s has %s, the record says %q: %s", name, want, e.File.Verity, show(e))
	}
}

// stopped: the program is refused by the rule, for what it is.
func (w *verityWorld) stopped(name, rule string, args ...string) *event.Event {
	w.t.Helper()
	o, events := w.do(w.actor(), append([]string{"exec", name}, args...))
	if o.Last() != syscall.EPERM || ran(w.marker) {
		w.t.Fatalf("%s: got %v, ran: %v\n%s", name, o, ran(w.marker), showAll(events))
	}
	e := told(w.t, w.world, o, rule)
	w.recorded(e.File.Path, e)
	source := event.SourceGate
	if w.kernel {
		source = event.SourceTable
	}
	if d := e.Decision; d.Effect != event.EffectRefused || d.Undecided || d.Divergence || d.Source != source {
		w.t.Errorf("%s: got %s", name, show(e))
	}
	return e
}

// TestVerity: a program is known by its fs-verity digest, in the hook where the
// kernel tells it, and else at the gate; that it has none is known, too.
func TestVerity(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		gated, held := newGate(t, backend, "deny")
		w := &verityWorld{&digestWorld{world: gated, marker: gated.path("marker")}, backend == lsm && inGuest() && !olderGuest()}
		mount := w.disk()
		sealing := mount != ""
		if !sealing {
			mount = held
		}
		w.dir = filepath.Join(mount, backend)
		bad, good, one, called, both := w.content("bad"), w.content("good"), w.content("one"), w.content("called"), w.content("both")
		other := verityOf([]byte("other"))
		data := map[string]any{"dir": w.in() + "/", "listed": w.in("listed") + "/", "strict": w.in("strict") + "/", "plain": w.in("plain") + "/", "both": w.in("both") + "/",
			"bad": []string{verityOf(bad), other}, "good": []string{verityOf(good), other}, "one": verityOf(one), "called": []string{verityOf(called)}, "content": sumOf(both)}
		modules := map[string]string{"exec": verityPolicy}
		if w.kernel {
			modules["kernel"] = kernelVerityPolicy
		}
		for _, dir := range []string{"listed", "strict", "plain", "both"} {
			w.must(os.MkdirAll(w.in(dir), 0o755)) // a new one is not known at once
		}
		w.policy(data, modules)
		w.start(event.ModeEnforce, "--step-down-programs", "0", "--gate-mount", mount)
		if text := w.cli("explain", "--running"); w.kernel == strings.Contains(text, "HELD") || !w.kernel && strings.Count(text, ": HELD") != 5 {
			t.Errorf("the kernel decides: %v\n%s", w.kernel, text)
		}
		w.without(bad)
		if sealing {
			w.with(bad, good, one)
			w.long()
			if w.kernel {
				w.inKernel(called, both)
			}
		}
		w.t = t
		st, err := w.agent.Status(w.wait())
		w.must(err)
		if n := st.Counters["kernel_verity_known"]; w.kernel != (n > 0) || st.Counters["kernel_digest_unknown"] != 0 {
			t.Errorf("%d files had a digest that was known, %d had none", n, st.Counters["kernel_digest_unknown"])
		}
		w.stop()
	})
}

// without: programs that have none, whatever is in them.
func (w *verityWorld) without(bad []byte) {
	for _, dir := range []string{"any", "listed", "strict", "plain"} {
		w.write(w.in(dir, "none"), bad, 0o755)
	}
	w.passes(w.in("any", "none")) // a list of what is bad knows no copies
	w.stopped(w.in("listed", "none"), "e2e-unlisted")
	w.stopped(w.in("strict", "none"), "e2e-none")
	w.passes(w.in("plain", "none"))
}

func (w *verityWorld) with(bad, good, one []byte) {
	for range 2 {
		e := w.stopped(w.sealed(bad, "any", "bad"), "e2e-bad")
		if !strings.Contains(e.Decision.Message, verityOf(bad)) {
			w.t.Errorf("got %s", show(e))
		}
		w.must(os.Remove(w.in("any", "bad")))
	}
	w.passes(w.sealed(w.content("harmless"), "any", "harmless"))
	w.stopped(w.sealed(one, "any", "one"), "e2e-one")
	w.passes(w.sealed(good, "listed", "good"))
	w.stopped(w.sealed(bad[:len(bad)-1], "listed", "cut"), "e2e-unlisted")
	w.passes(w.sealed(good, "strict", "good"))
	w.stopped(w.sealed(good, "plain", "good"), "e2e-some")
	// The same content with a salt has another digest.
	salted := w.in("any", "salted")
	w.write(salted, bad, 0o755)
	w.must(seal(salted, 1, []byte("salt")))
	w.passes(salted)
	// Under another name and after a rename it is what it was; nobody can write it.
	w.must(os.Link(w.in("listed", "good"), w.in("listed", "link")))
	w.passes(w.in("listed", "link"))
	if f, err := os.OpenFile(w.in("listed", "good"), os.O_RDWR, 0); err == nil {
		f.Close()
		w.t.Error("a sealed file was opened for writing")
	}
	// Sealed after it was judged.
	late := w.in("any", "late")
	w.write(late, bad, 0o755)
	w.passes(late)
	w.must(seal(late, 1, nil))
	w.stopped(late, "e2e-bad")
	// A script is judged, and so is its interpreter.
	script := w.sealed([]byte("#!"+w.in("listed", "good")+"\n"), "any", "script")
	w.passes(script)
	w.write(w.in("listed", "script"), []byte("#!"+w.in("listed", "good")+"\n"), 0o755)
	w.stopped(w.in("listed", "script"), "e2e-unlisted")
	w.must(os.Rename(late, w.in("any", "interpreter")))
	script = w.sealed([]byte("#!"+w.in("any", "interpreter")+"\n"), "any", "by-bad")
	if e := w.stopped(script, "e2e-bad"); e.File.Path != w.in("any", "interpreter") {
		w.t.Errorf("got %s", show(e))
	}
	w.covered(bad)
}

// covered: what an overlay shows has no digest, whatever the file below has: for the
// tools, and for the kernel. Nobody asks the gate, which watches one mount here.
func (w *verityWorld) covered(bad []byte) {
	if w.overlay() == "" {
		return
	}
	top := w.in("overlay")
	for _, d := range []string{top, w.in("lower")} {
		w.must(os.MkdirAll(d, 0o755))
	}
	name := w.sealed(bad, "lower", "bad")
	w.stopped(name, "e2e-bad")
	w.must(unix.Mount("overlay", top, "overlay", 0, "lowerdir="+w.in("lower")+":"+w.path("layers/low")))
	defer func() { w.must(unix.Unmount(top, unix.MNT_DETACH)) }()
	if got := w.measured(filepath.Join(top, "bad")); got != "" {
		w.t.Errorf("through the overlay: %s", got)
	}
	if w.kernel {
		w.passes(filepath.Join(top, "bad"))
	}
}

// long: SHA-512, where the kernel can.
func (w *verityWorld) long() {
	name := w.in("listed", "long")
	w.write(name, w.content("long"), 0o755)
	err := seal(name, 2, nil)
	if errors.Is(err, unix.ENOPKG) {
		w.t.Log("this kernel has no SHA-512 for fs-verity")
		return
	}
	w.must(err)
	sum := w.measured(name)
	if !strings.HasPrefix(sum, "sha512:") || len(sum) != 7+128 {
		w.t.Fatalf("measured %s", sum)
	}
	w.stopped(name, "e2e-unlisted")
	moved := w.in("any", "long")
	w.must(os.Rename(name, moved))
	events := w.passes(moved)
	if w.kernel {
		w.alerted("e2e-part", moved, events)
	}
}

func (w *verityWorld) alerted(rule, name string, events []*event.Event) {
	w.t.Helper()
	for _, e := range events {
		if d := e.Decision; e.Hook == event.HookExec && e.File.Path == name && d.Verdict == event.VerdictAlert && d.Rule.ID == rule {
			return
		}
	}
	w.t.Errorf("%s: no alert by %s\n%s", name, rule, showAll(events))
}

func (w *verityWorld) inKernel(called, both []byte) {
	name := w.sealed(called, "any", "called")
	w.passes(name, "--good")
	o, events := w.do(w.actor(), []string{"exec", name, "--evil"})
	if found := denials(events, event.HookExec, "e2e-called"); o.Signal != syscall.SIGKILL || len(found) != 1 || found[0].File.Verity != verityOf(called) {
		w.t.Errorf("got %v\n%s", o, showAll(events))
	}
	w.write(w.in("both", "open"), both, 0o755)
	if e := w.stopped(w.in("both", "open"), "e2e-both"); e.File.SHA256 != sumOf(both) {
		w.t.Errorf("got %s", show(e))
	}
	w.passes(w.sealed(w.content("good"), "both", "good"))
	if text := w.cli("doctor"); !strings.Contains(text, "yes      verity") {
		w.t.Errorf("doctor: %s", text)
	}
}
