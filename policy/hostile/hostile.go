package hostile

import (
	"fmt"
	"slices"
)

// Case is one bundle that must be refused.
type Case struct {
	Name    string
	Code    string // of the refusal, such as P012
	Archive []byte
	Signed  bool // the reader has a key, and Force(10) is in force
}

// InForce is the bundle that is in force while the cases are tried: revision
// r10 with the serial 10.
func InForce() Files { return Good("r10", 10) }

// Cases returns all of them. Those that are Signed are for readers that know
// s, and no other key, with its scope.
func Cases(s *Signer) []Case {
	var out []Case
	for _, part := range [][]Case{archiveCases(), entryCases(), bombCases(), manifestCases(), ruleCases(), builtinCases(), dataCases(), deltaCases(), orderCases()} {
		out = append(out, part...)
	}
	for _, c := range signatureCases(s) {
		c.Signed = true
		out = append(out, c)
	}
	return out
}

// good is what the cases spoil.
func good() Files { return Good("r11", 11) }

func archiveCases() []Case {
	whole := good().Pack()
	plain := good().Tar()
	flip := func(b []byte, i int) []byte { b = slices.Clone(b); b[i] ^= 0x55; return b }
	a := func(name string, b []byte) Case { return Case{Name: name, Code: "P012", Archive: b} }
	out := []Case{
		a("archive/empty", nil),
		a("archive/text", []byte("package bailiff.exec\n")),
		a("archive/html", []byte("<html><body>502 Bad Gateway</body></html>")),
		a("archive/plain-tar", plain),
		a("archive/zip", []byte("PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaa")),
		a("archive/bzip2", []byte("BZh91AY&SY aaaaaaaaaaaaa")),
		a("archive/magic-only", []byte{0x1f, 0x8b}),
		a("archive/header-only", whole[:10]),
		a("archive/bad-checksum", flip(whole, len(whole)-8)),
		a("archive/bad-length", flip(whole, len(whole)-1)),
		a("archive/bad-method", flip(whole, 2)),
		a("archive/garbage-behind", append(slices.Clone(whole), "garbage"...)),
		a("archive/second-member", append(slices.Clone(whole), Gzip([]byte("more"))...)),
		a("archive/gzip-of-text", Gzip([]byte("this is no tar archive, but long enough to be taken for a header of one: "+fmt.Sprint(make([]int, 400))))),
		a("archive/gzip-in-gzip", Gzip(whole)),
		a("archive/tar-cut-in-header", Gzip(plain[:300])),
		a("archive/tar-cut-in-file", Gzip(plain[:600])),
		a("archive/tar-bad-sum", Gzip(flip(plain, 148))),
		a("archive/tar-bad-size", Gzip(flip(plain, 124))),
		a("archive/behind-the-end", Gzip(append(slices.Clone(plain), "hidden"...))),
	}
	for i := 1; i < 8; i++ {
		out = append(out, a(fmt.Sprintf("archive/cut-%d", i), whole[:len(whole)*i/8]))
	}
	// Behind the header of gzip, where each bit counts.
	for i := 1; i < 6; i++ {
		out = append(out, a(fmt.Sprintf("archive/flip-%d", i), flip(whole, 10+(len(whole)-20)*i/6)))
	}
	return out
}

// orderCases are older than what is in force.
func orderCases() []Case {
	c := func(name string, f Files) Case { return Case{Name: name, Code: "P017", Archive: f.Pack()} }
	return []Case{
		c("order/older", Good("r9", 9)),
		c("order/first", Good("r1", 1)),
		c("order/no-serial", Good("r11", 0)),
		c("order/same-serial", Good("r10b", 10)),
		c("order/newer-name-older-serial", Good("r999", 9)),
	}
}

func deltaCases() []Case {
	d := func(name, patch string, more ...string) Case {
		f := Files{".manifest": `{"revision": "r11", "metadata": {"bailiff": {"serial": 11}}}`, "patch.json": patch}
		return Case{Name: "delta/" + name, Code: "P016", Archive: f.With(more...).Pack()}
	}
	return []Case{
		d("alone", `{"data": [{"op": "upsert", "path": "/programs/x", "value": true}]}`),
		d("empty", `{}`),
		d("not-json", `{"data": [`),
		d("with-data", `{"data": []}`, "data.json", "{}"),
		d("with-rules", `{"data": []}`, "exec.rego", "package bailiff.exec\ndeny contains 1 if input.process.pid == 1\n"),
		d("wrong-type", `{"data": 7}`),
		d("below-nothing", `[]`),
	}
}
