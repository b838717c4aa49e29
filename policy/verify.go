package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/keys"
)

// signaturesFile holds the signature of a bundle.
const signaturesFile = ".signatures.json"

// Key verifies signatures of bundles.
type Key struct {
	ID        string // as signatures name it (kid)
	Algorithm string // as JSON Web Signatures name it: ES256, RS256, PS256, HS256, ...; default RS256
	Key       string // the public key or certificate in PEM, or the shared secret
	Scope     string // that signatures by this key must name; what Keys.Scope says goes before
}

// Keys are what bundles must be signed with. Several are in force at a time, so
// that a key can be exchanged while bundles by the old one are still about.
// They are immutable and safe for concurrent use.
type Keys struct {
	byID  map[string]*bundle.KeyConfig
	ids   []string
	scope string
}

// NewKeys checks the keys. scope, if not empty, must stand in every signature.
func NewKeys(list []Key, scope string) (*Keys, error) {
	k := &Keys{byID: map[string]*bundle.KeyConfig{}, scope: scope}
	for _, key := range list {
		if key.ID == "" || k.byID[key.ID] != nil {
			return nil, fmt.Errorf("read key %q: each key needs an id of its own", key.ID)
		}
		if key.Algorithm == "" {
			key.Algorithm = "RS256"
		}
		if !keys.IsSupportedAlgorithm(key.Algorithm) {
			return nil, fmt.Errorf("read key %q: algorithm %q is not known", key.ID, key.Algorithm)
		}
		if strings.HasPrefix(key.Algorithm, "HS") {
			if strings.Contains(key.Key, "-----BEGIN") {
				// A public key as the secret is a public secret.
				return nil, fmt.Errorf("read key %q: %s needs a shared secret, this is a key in PEM", key.ID, key.Algorithm)
			}
			if len(key.Key) < 32 {
				return nil, fmt.Errorf("read key %q: a shared secret needs 32 bytes at least", key.ID)
			}
		} else if !strings.Contains(key.Key, "-----BEGIN") {
			return nil, fmt.Errorf("read key %q: %s needs a public key in PEM", key.ID, key.Algorithm)
		}
		k.byID[key.ID] = &bundle.KeyConfig{Key: key.Key, Algorithm: key.Algorithm, Scope: key.Scope}
		k.ids = append(k.ids, key.ID)
	}
	if len(k.ids) == 0 {
		return nil, errors.New("read keys: there are none")
	}
	slices.Sort(k.ids)
	return k, nil
}

// OPA returns the keys as OPA's own reader of bundles takes them.
func (k *Keys) OPA() map[string]*bundle.KeyConfig { return k.byID }

// Scope is what every signature must name; "" if each key says so itself.
func (k *Keys) Scope() string { return k.scope }

// verify holds every file of a bundle to the signature that comes with it, and
// returns the id of the key. Bundles of changes (deltas) too: stock OPA cannot
// verify those, so it is done here with OPA's functions, file by file.
func (k *Keys) verify(entries []entry) (string, error) {
	refuse := func(file, why, hint string) (string, error) {
		return "", Errors{{Code: CodeSignature, File: file, Why: why, Hint: hint}}
	}
	i := slices.IndexFunc(entries, func(e entry) bool { return e.path == signaturesFile })
	if i < 0 {
		return refuse(signaturesFile, "the bundle is not signed, and the agent is told to accept signed ones only",
			"sign it: opa build -b DIR --signing-key KEY.pem --signing-alg ALG --claims-file CLAIMS.json")
	}
	var sc bundle.SignaturesConfig
	if err := strictJSON(entries[i].path, entries[i].data, &sc); err != nil {
		return "", err
	}
	if sc.Plugin != "" && sc.Plugin != "_default" {
		return refuse(signaturesFile, fmt.Sprintf("the signature asks for the verifier %q", printable(sc.Plugin)), "sign with a key that the agent is configured with")
	}
	files, id, err := k.signed(sc)
	if err != nil {
		return refuse(signaturesFile, "the signature is not accepted: "+printable(err.Error()), k.hint(sc))
	}
	for _, e := range entries {
		if e.path == signaturesFile {
			continue
		}
		if err := bundle.VerifyBundleFile(e.path, *bytes.NewBuffer(e.data), files); err != nil {
			return refuse(e.path, "the signature does not cover this content: "+printable(err.Error()), "build and sign the bundle again, after the last change")
		}
	}
	for name := range files {
		return refuse(printable(name), "the signature names this file, but the bundle lacks it", "build and sign the bundle again")
	}
	return id, nil
}

// signed returns the files that the signature names. A token that names no key
// is tried with each.
func (k *Keys) signed(sc bundle.SignaturesConfig) (map[string]bundle.FileInfo, string, error) {
	vc := bundle.NewVerificationConfig(k.byID, "", k.scope, nil)
	named := ""
	if len(sc.Signatures) == 1 {
		named = keyOf(sc.Signatures[0])
	}
	if named != "" || len(sc.Signatures) != 1 {
		files, err := bundle.VerifyBundleSignature(sc, vc)
		return clean(files), named, err
	}
	var first error
	for _, id := range k.ids {
		vc.KeyID = id
		files, err := bundle.VerifyBundleSignature(sc, vc)
		if err == nil {
			return clean(files), id, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", first
}

// clean names files as the contents do: writers differ in the slash at the front.
func clean(files map[string]bundle.FileInfo) map[string]bundle.FileInfo {
	out := make(map[string]bundle.FileInfo, len(files))
	for name, f := range files {
		out[strings.TrimPrefix(strings.TrimPrefix(name, "/"), "./")] = f
	}
	return out
}

// keyOf returns the id that a token names in its header or, as older writers
// do, in its claims. Nothing is believed yet.
func keyOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	for i, field := range []string{"kid", "keyid"} {
		var claims map[string]any
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, &claims) != nil {
			continue
		}
		if id, ok := claims[field].(string); ok && id != "" {
			return id
		}
	}
	return ""
}

func (k *Keys) hint(sc bundle.SignaturesConfig) string {
	named := ""
	if len(sc.Signatures) == 1 {
		named = keyOf(sc.Signatures[0])
	}
	hint := "the agent knows the keys " + strings.Join(k.ids, ", ")
	if named != "" {
		hint += "; this signature names " + printable(named)
	}
	if k.scope != "" {
		hint += "; the scope must be " + k.scope
	}
	return hint
}
