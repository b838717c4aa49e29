package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// marks are what a manifest says to the agent, in its metadata:
//
//	{"revision": "v12", "metadata": {"bailiff": {"serial": 12}}}
type marks struct {
	// Serial grows with every release; a bundle with a lower one than the one
	// in force is a roll-back. 0: none.
	Serial uint64 `json:"serial"`
	// Base is the revision that a delta is for.
	Base string `json:"base"`
}

// maxSerial is the greatest integer that JSON readers agree on.
const maxSerial = 1 << 53

// manifest reads .manifest strictly: what is not understood might be meant to
// protect.
func (f *files) manifest() (bundle.Manifest, marks, error) {
	var m bundle.Manifest
	var k marks
	for _, e := range f.entries {
		bad := func(why, hint string) (bundle.Manifest, marks, error) {
			return m, k, Errors{{Code: CodeManifest, File: e.path, Why: why, Hint: hint}}
		}
		switch base := e.path[strings.LastIndexByte(e.path, '/')+1:]; {
		case strings.HasSuffix(e.path, bundle.ManifestProtoExt):
			return bad("a manifest in protobuf form is not read here", "write .manifest as JSON")
		case strings.HasSuffix(base, bundle.ManifestExt) && e.path != bundle.ManifestExt:
			return bad("a manifest stands beside the root of the bundle", "one bundle has one .manifest, at its root")
		case strings.HasSuffix(base, signaturesFile) && e.path != signaturesFile:
			return bad("signatures stand beside the root of the bundle", "one bundle has one .signatures.json, at its root")
		case base == bundle.WasmFile, base == bundle.PlanFile, base == bundle.PlanProtoFile:
			return bad("compiled rules cannot be turned into kernel tables", "ship the Rego files: opa build -t rego")
		case e.path != bundle.ManifestExt:
			continue
		}
		if err := strictJSON(e.path, e.data, &m); err != nil {
			return m, k, err
		}
		switch {
		case len(m.WasmResolvers) > 0:
			return bad("wasm resolvers are not run here", "ship the Rego files: opa build -t rego")
		case m.RegoVersion != nil && *m.RegoVersion != 1:
			return bad(fmt.Sprintf("rego_version %d is not supported", *m.RegoVersion), "rewrite the rules with `opa fmt --v0-v1`, and set rego_version to 1")
		case strings.ContainsFunc(m.Revision, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(m.Revision) > 256:
			return bad("the revision is not a plain name", "name it as you would a release: v12, or a commit")
		}
		for _, v := range m.FileRegoVersions {
			if v != 1 {
				return bad(fmt.Sprintf("file_rego_versions has %d", v), "rewrite the rules with `opa fmt --v0-v1`")
			}
		}
		own, ok := m.Metadata["bailiff"]
		if !ok {
			continue
		}
		b, err := json.Marshal(own)
		if err != nil {
			return bad("metadata.bailiff cannot be read", "")
		}
		if err := strictJSON(e.path, b, &k); err != nil || k.Serial > maxSerial {
			return bad("metadata.bailiff is not understood: "+printable(string(b)), `it may have "serial", a whole number that grows with each release, and "base", the revision that a delta is for`)
		}
	}
	return m, k, nil
}

// strictJSON reads one JSON value that may have no unknown field, and nothing
// behind it.
func strictJSON(file string, data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the JSON value")
		} else {
			return nil
		}
	}
	e := &Error{Code: CodeManifest, File: file, Why: printable(strings.TrimPrefix(err.Error(), "json: ")), Line: 1}
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	at := d.InputOffset()
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &typed):
		at = typed.Offset
	default:
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			if i := bytes.Index(data, []byte(name)); i >= 0 {
				at = int64(i)
			}
			e.Hint = "leave it out; what the agent does not understand it does not guess"
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		at, e.Why = int64(len(data)), "it ends too early"
	}
	if e.Hint == "" {
		e.Hint = "correct the JSON; `opa build` writes it"
	}
	at = max(0, min(at, int64(len(data))))
	e.Line += bytes.Count(data[:at], []byte("\n"))
	return Errors{e}
}
