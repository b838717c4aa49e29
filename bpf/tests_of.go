package bpf

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// tests is the list of distinct tests on paths and on names that a program
// makes, whatever field they are made on: a path has the same class as program,
// parent, ancestor and object.
type tests struct {
	ids       map[condID]int // of a condition -> number
	conds     []*ir.Cond
	exact     map[string][]int // path -> tests that list it
	under     map[string][]int // directory, with "/" -> prefix tests that list it
	names     map[string]bool  // last components that tests list
	suffixes  map[string]bool
	digests   map[event.FieldID]map[string][]int // field -> digest -> tests that list it
	ancestors []elementTest                      // tests made on ancestors; position is the bit
	bits      map[condID]int                     // of a condition on ancestors -> bit
	idents    map[string]uint64                  // path -> identities of the file there, as bits of ir.Program.Identities
	shells    []string                           // paths of shells, if a rule reads process.shell
	noShell   []int                              // tests that "" meets
}

// elementTest is a test of one ancestor.
type elementTest struct {
	ids     []int // it meets one of these tests, or
	outside bool  // none of them
}

func (e *elementTest) holds(met truth) bool { return slices.ContainsFunc(e.ids, met.has) != e.outside }

func collectTests(hooks []hookBits, ids []ir.Identity) tests {
	ts := tests{ids: map[condID]int{}, bits: map[condID]int{}, exact: map[string][]int{}, under: map[string][]int{},
		digests: map[event.FieldID]map[string][]int{}, names: map[string]bool{}, suffixes: map[string]bool{}, idents: map[string]uint64{}}
	for i := range hooks {
		for j := range hooks[i].bits {
			when := hooks[i].bits[j].clause.When
			hooks[i].bits[j].tests = make([]int, len(when))
			for k := range when {
				hooks[i].bits[j].tests[k] = ts.add(&when[k])
			}
		}
	}
	for bit, id := range ids[:min(len(ids), ir.MaxIdentities)] {
		for _, p := range id.Paths {
			ts.idents[p] |= 1 << bit
			ts.exact[p] = append([]int(nil), ts.exact[p]...) // bound like a path that rules name
		}
	}
	return ts
}

// identsOf returns the identities of a file that is at all of these paths.
func (ts *tests) identsOf(paths []string) uint64 {
	var mask uint64
	if len(ts.idents) > 0 {
		for _, p := range paths {
			mask |= ts.idents[p]
		}
	}
	return mask
}

// condID is the same for equal conditions: a digest, as a condition may list
// 100,000 paths.
type condID [sha256.Size]byte

func condKey(c *ir.Cond) condID {
	h := sha256.New()
	kind := byte('p')
	if event.FieldByID(c.Field).Kind == event.KindString {
		kind = 'n'
	}
	buf := []byte{kind, byte(c.Op)}
	if event.FieldByID(c.Field).Kind == event.KindDigest {
		buf = []byte{'d', byte(c.Field)}
	}
	if c.Outside {
		buf = append(buf, 'o')
	}
	if c.IsText() {
		buf = append([]byte{'t', byte(c.Field), byte(c.Op), byte(c.At)}, c.Var+"="...)
	}
	for i, list := range [][]string{c.Strs, c.Under} {
		if i > 0 && len(list) > 0 {
			buf = append(buf, 0) // no path is empty
		}
		for _, s := range list {
			if buf = append(append(buf, s...), 0); len(buf) > 4096 {
				h.Write(buf)
				buf = buf[:0]
			}
		}
	}
	h.Write(buf)
	return condID(h.Sum(nil))
}

// add returns the number of a condition's test, the same for equal tests; of one on
// ancestors, its bit.
func (ts *tests) add(c *ir.Cond) int {
	if c.Field != event.FieldAncestors {
		return ts.ofOne(c)
	}
	key := condKey(c)
	if bit, known := ts.bits[key]; known {
		return bit
	}
	ts.bits[key] = len(ts.ancestors)
	own := ir.Cond{Field: c.Field, Op: c.Op, Strs: c.Strs}
	e := elementTest{ids: []int{ts.ofOne(&own)}, outside: c.Outside}
	if len(c.Under) > 0 {
		e.ids = append(e.ids, ts.ofOne(&ir.Cond{Field: c.Field, Op: ir.OpPrefix, Strs: c.Under}))
	}
	ts.ancestors = append(ts.ancestors, e)
	return ts.bits[key]
}

// ofOne returns the number of a test of one path, name or digest.
func (ts *tests) ofOne(c *ir.Cond) int {
	f := event.FieldByID(c.Field)
	if f.Kind != event.KindPath && f.Kind != event.KindPaths && f.Kind != event.KindString && f.Kind != event.KindDigest {
		return -1
	}
	key := condKey(c)
	id, known := ts.ids[key]
	if !known {
		id = len(ts.conds)
		ts.ids[key] = id
		ts.conds = append(ts.conds, c)
		if len(ts.exact) == 0 && (f.Kind == event.KindPath || f.Kind == event.KindPaths) && c.Op != ir.OpPrefix {
			ts.exact = make(map[string][]int, len(c.Strs))
		}
		digests := ts.digests[c.Field]
		if f.Kind == event.KindDigest && digests == nil {
			digests = map[string][]int{}
			ts.digests[c.Field] = digests
		}
		alone := []int{id}
		for _, s := range c.Strs {
			switch {
			case digests != nil && digests[s] == nil:
				digests[s] = alone
			case digests != nil:
				digests[s] = append(digests[s][:len(digests[s]):len(digests[s])], id)
			case f.Kind == event.KindString && c.Op == ir.OpSuffix:
				ts.suffixes[s] = true
			case f.Kind == event.KindString:
				ts.names[s] = true
			case c.Op == ir.OpPrefix:
				ts.under[s] = append(ts.under[s], id)
			case s == "":
				ts.noShell = append(ts.noShell, id)
			case ts.exact[s] == nil:
				ts.exact[s] = alone // as most are; appending to it makes a copy
			default:
				ts.exact[s] = append(ts.exact[s], id)
			}
		}
	}
	return id
}

// below returns the prefix tests that a path below dir meets; dir ends in "/".
func (ts *tests) below(dir string) truth {
	var met []truth
	for i := 0; i < len(dir); i++ {
		if dir[i] == '/' {
			if ids := ts.under[dir[:i+1]]; len(ids) > 0 {
				met = append(met, truth{ids})
			}
		}
	}
	return union(met...)
}

// nameTruth returns the name tests that a last component meets.
func (ts *tests) nameTruth(name string) truth {
	var met []int
	for id, c := range ts.conds {
		if event.FieldByID(c.Field).Kind != event.KindString {
			continue
		}
		if c.Op == ir.OpIn {
			if _, ok := slices.BinarySearch(c.Strs, name); ok {
				met = append(met, id)
			}
		} else if slices.ContainsFunc(c.Strs, func(s string) bool { return strings.HasSuffix(name, s) }) {
			met = append(met, id)
		}
	}
	return truth{met}
}

// suffixTruth returns the suffix tests that every name with this ending meets.
func (ts *tests) suffixTruth(end string) truth {
	var met []int
	for id, c := range ts.conds {
		if event.FieldByID(c.Field).Kind == event.KindString && c.Op == ir.OpSuffix &&
			slices.ContainsFunc(c.Strs, func(s string) bool { return strings.HasSuffix(end, s) }) {
			met = append(met, id)
		}
	}
	return truth{met}
}

// fieldHolds reports whether all conditions of a clause on one path or name
// field hold for an object that meets these tests.
func (b *clauseBit) fieldHolds(field event.FieldID, met truth) bool {
	for i := range b.clause.When {
		cond := &b.clause.When[i]
		if cond.Field == field && met.has(b.tests[i]) == cond.Negated {
			return false
		}
	}
	return true
}

// pathFields are the dimensions that a path class has: path and name field.
var (
	fileFields   = [2]event.FieldID{event.FieldPath, event.FieldName}
	exeFields    = [2]event.FieldID{event.FieldExePath, event.FieldExeName}
	parentFields = [2]event.FieldID{event.FieldParentPath, event.FieldParentName}
)

// makeClass builds the row of a class. With names the class is whole: it
// stands for one object known by these last components, and the conditions on
// its name are in it.
func (t *tables) makeClass(met truth, names []string, whole bool) kernelClass {
	var c kernelClass
	if whole {
		c.Pad = 1
		for _, n := range names {
			met = union(met, t.tests.nameTruth(n))
		}
	}
	row := func(hb *hookBits, f [2]event.FieldID) uint32 {
		return t.vecWhere(hb, func(i int) bool {
			b := &hb.bits[i]
			return b.fieldHolds(f[0], met) && (!whole || b.fieldHolds(f[1], met))
		})
	}
	for i := range t.hooks {
		c.File[i] = row(&t.hooks[i], fileFields)
		c.Exe[i] = row(&t.hooks[i], exeFields)
		c.Parent[i] = row(&t.hooks[i], parentFields)
	}
	c.Shell = t.shellRow(met)
	for bit := range t.tests.ancestors {
		if t.tests.ancestors[bit].holds(met) {
			c.Ancestor |= 1 << bit
		}
	}
	return c
}

// shellRow is what a class means where it is that of the nearest shell.
func (t *tables) shellRow(met truth) (row [kernelNumJudged]uint32) {
	for i := range t.hooks {
		if t.conf[i].UsesShell == 0 {
			continue
		}
		row[i] = t.vecWhere(&t.hooks[i], func(k int) bool { return t.hooks[i].bits[k].fieldHolds(event.FieldShell, met) })
	}
	return row
}

// unresolved is the class of a path that is not known: every condition on it
// counts as met, so that rules that deny do deny (fail closed).
func (t *tables) unresolved() kernelClass { return kernelClass{Pad: 1, Ancestor: ^uint64(0)} }

// pathClass returns the class of anything that meets these tests and that no
// rule names by its whole path.
func (t *tables) pathClass(met truth) uint32 {
	key := met.key("p")
	if id, ok := t.classID[key]; ok {
		return id
	}
	return t.putClass(key, t.makeClass(met, nil, false))
}

// wholeClass returns the class of an object that rules name by these paths, or that
// is a shell.
func (t *tables) wholeClass(met truth, paths []string, shell bool) uint32 {
	names := baseNames(paths)
	for _, n := range names {
		met = union(met, t.tests.nameTruth(n))
	}
	key, idents := met.key("w"), t.tests.identsOf(paths)
	if idents != 0 {
		key += " of " + strconv.FormatUint(idents, 16)
	}
	if shell {
		key += " shell"
	}
	if id, ok := t.classID[key]; ok {
		return id
	}
	c := t.makeClass(met, names, true)
	if c.Idents = idents; shell {
		c.Ancestor |= ancestorShell
	}
	return t.putClass(key, c)
}

func (t *tables) putClass(key string, c kernelClass) uint32 {
	id := uint32(len(t.classes))
	t.classes = append(t.classes, c)
	t.classID[key] = id
	return id
}

// nameClasses makes the classes of last components.
func (t *tables) nameClasses() {
	t.basenames, t.suffixes = map[string]uint32{}, map[string]uint32{}
	t.usesNames = len(t.tests.names)+len(t.tests.suffixes) > 0
	t.classes[classNoName] = t.nameRow(truth{})
	nameClass := func(met truth) uint32 {
		key := met.key("n")
		if id, ok := t.classID[key]; ok {
			return id
		}
		return t.putClass(key, t.nameRow(met))
	}
	for n := range t.tests.names {
		t.basenames[n] = nameClass(t.tests.nameTruth(n))
	}
	for s := range t.tests.suffixes {
		t.suffixes[s] = nameClass(t.tests.suffixTruth(s))
	}
}

func (t *tables) nameRow(met truth) kernelClass {
	var c kernelClass
	row := func(hb *hookBits, f event.FieldID) uint32 {
		return t.vecWhere(hb, func(i int) bool { return hb.bits[i].fieldHolds(f, met) })
	}
	for i := range t.hooks {
		c.File[i] = row(&t.hooks[i], event.FieldName)
		c.Exe[i] = row(&t.hooks[i], event.FieldExeName)
		c.Parent[i] = row(&t.hooks[i], event.FieldParentName)
	}
	return c
}

// stringClasses returns the path and name classes of an object that is known by
// strings only, its names, as the kernel would find them.
func (t *tables) stringClasses(names ...string) (pathID, nameID uint32) {
	var met []truth
	var listed []string
	for _, p := range names {
		met = append(met, t.tests.below(p[:strings.LastIndexByte(p, '/')+1]))
		if ids, ok := t.tests.exact[p]; ok {
			met, listed = append(met, truth{ids}), append(listed, p)
		}
	}
	if len(listed) > 0 {
		return t.wholeClass(union(met...), listed, false), classWhole
	}
	return t.pathClass(union(met...)), t.nameClassOf(names[0][strings.LastIndexByte(names[0], '/')+1:])
}

func (t *tables) nameClassOf(name string) uint32 {
	if !t.usesNames {
		return classWhole
	}
	if id, ok := t.basenames[name]; ok {
		return id
	}
	for i := range len(name) {
		if id, ok := t.suffixes[name[i:]]; ok {
			return id // longest first
		}
	}
	return classNoName
}
