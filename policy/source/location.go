package source

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// kind is the way in which a bundle is fetched.
type kind int

const (
	kindLocal kind = iota // a directory or a tar.gz file
	kindHTTP
	kindOCI
)

// location is a bundle's address, taken apart.
type location struct {
	kind kind
	text string // as people wrote it, without a password
	path string // local: absolute; http: below base; oci: registry/repository:tag
	base string // http and oci: scheme and host
}

// Remote says whether a bundle at this address is fetched over a network.
func Remote(address string) bool { return strings.Contains(address, "://") }

// parse understands an address. Without signatures a bundle is as trustworthy
// as the way that it came: plain HTTP is for this machine only.
func parse(address string, signed bool) (location, error) {
	if !Remote(address) {
		abs, err := filepath.Abs(address)
		if err != nil {
			return location{}, fmt.Errorf("find bundle: %w", err)
		}
		return location{kind: kindLocal, text: address, path: abs}, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return location{}, fmt.Errorf("read address of the bundle: %w", err)
	}
	if u.User != nil {
		return location{}, fmt.Errorf("read address of the bundle: it holds a password; name a file with it instead (policy.token_file)")
	}
	if u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return location{}, fmt.Errorf("read address of the bundle: %s names no host, or nothing on it", address)
	}
	l := location{text: address}
	plain := false
	switch u.Scheme {
	case "https", "http":
		l.kind, plain = kindHTTP, u.Scheme == "http"
		l.path = strings.TrimPrefix(u.RequestURI(), "/")
		l.base = u.Scheme + "://" + u.Host
	case "oci", "oci+http":
		l.kind, plain = kindOCI, u.Scheme == "oci+http"
		if !strings.ContainsAny(strings.TrimPrefix(u.Path, "/"), ":@") {
			return location{}, fmt.Errorf("read address of the bundle: %s names no tag or digest: oci://registry/repository:tag", address)
		}
		l.path = u.Host + u.Path
		l.base = map[bool]string{false: "https://", true: "http://"}[plain] + u.Host
	default:
		return location{}, fmt.Errorf("read address of the bundle: %q is not one of https, http, oci, oci+http", u.Scheme)
	}
	if plain && !signed && !loopback(u.Hostname()) {
		return location{}, fmt.Errorf("read address of the bundle: over plain HTTP anybody on the way can change a bundle that is not signed; use https, or configure keys")
	}
	return l, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
