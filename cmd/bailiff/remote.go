package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"

	"example.com/bailiff/internal/server"
)

// remote says which agent the tools talk to. Flags go before variables, which
// go before the file.
type remote struct {
	Address    string `yaml:"address"`     // host:port; empty: the socket
	CA         string `yaml:"ca"`          // PEM: who signs the agent's certificate
	Cert       string `yaml:"cert"`        // PEM: our own
	Key        string `yaml:"key"`         // PEM
	ServerName string `yaml:"server_name"` // name in the agent's certificate, or its SPIFFE id

	socket string
	file   string // client configuration
}

// Environment variables for people and scripts that call one agent often.
const (
	envSocket       = "BAILIFF_SOCKET"
	envAddress      = "BAILIFF_ADDRESS"
	envCA           = "BAILIFF_CA"
	envCert         = "BAILIFF_CERT"
	envKey          = "BAILIFF_KEY"
	envServerName   = "BAILIFF_SERVER_NAME"
	envClientConfig = "BAILIFF_CLIENT_CONFIG"
)

func (r *remote) flags(f *pflag.FlagSet) {
	f.StringVar(&r.socket, "socket", defaultSocket, "unix socket of the agent ($"+envSocket+")")
	f.StringVar(&r.Address, "address", "", "call an agent on this host:port instead, with mutual TLS ($"+envAddress+")")
	f.StringVar(&r.CA, "ca", "", "who signs the agent's certificate, PEM ($"+envCA+")")
	f.StringVar(&r.Cert, "cert", "", "certificate to call it with, PEM ($"+envCert+")")
	f.StringVar(&r.Key, "key", "", "its private key, PEM ($"+envKey+")")
	f.StringVar(&r.ServerName, "server-name", "", "name or SPIFFE id in the agent's certificate, if it is not the host ($"+envServerName+")")
	f.StringVar(&r.file, "client-config", "", "file with address, ca, cert, key, server_name ($"+envClientConfig+"; default ~/.config/bailiff/client.yaml)")
}

// resolve puts flags, variables and file together.
func (a *app) resolve() (*remote, error) {
	given := func(name string) bool {
		f := a.flags.Lookup(name)
		return f != nil && f.Changed
	}
	r := a.remote
	if given("socket") && given("address") {
		return nil, usageError{errors.New("--socket and --address are two agents: give one")}
	}
	if given("socket") {
		return &remote{socket: r.socket}, nil
	}
	if s := a.getenv(envSocket); s != "" && !given("address") && a.getenv(envAddress) == "" {
		return &remote{socket: s}, nil
	}
	file, err := a.clientFile()
	if err != nil {
		return nil, err
	}
	for _, v := range []struct {
		to        *string
		env, file string
	}{
		{&r.Address, envAddress, file.Address}, {&r.CA, envCA, file.CA}, {&r.Cert, envCert, file.Cert},
		{&r.Key, envKey, file.Key}, {&r.ServerName, envServerName, file.ServerName},
	} {
		for _, s := range []string{a.getenv(v.env), v.file} {
			if *v.to == "" {
				*v.to = s
			}
		}
	}
	return &r, nil
}

// clientFile reads the client configuration. Relative names in it are relative
// to it.
func (a *app) clientFile() (remote, error) {
	var r remote
	path, named := a.remote.file, true
	if path == "" {
		path = a.getenv(envClientConfig)
	}
	if path == "" {
		dir := a.getenv("XDG_CONFIG_HOME")
		if home := a.getenv("HOME"); dir == "" && home != "" {
			dir = filepath.Join(home, ".config")
		}
		if dir == "" {
			return r, nil
		}
		path, named = filepath.Join(dir, "bailiff", "client.yaml"), false
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return r, nil
	} else if err != nil {
		return r, fmt.Errorf("read client configuration: %w", err)
	}
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&r)
	if err != nil && !errors.Is(err, io.EOF) {
		return r, configError(path, err)
	}
	for _, p := range []*string{&r.CA, &r.Cert, &r.Key} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return r, nil
}

func (r *remote) credentials() (credentials.TransportCredentials, error) {
	if _, _, err := net.SplitHostPort(r.Address); err != nil {
		return nil, &userError{Code: "address", Why: fmt.Sprintf("address %q is not host:port", r.Address)}
	}
	for _, v := range []struct{ name, value, env string }{{"ca", r.CA, envCA}, {"cert", r.Cert, envCert}, {"key", r.Key, envKey}} {
		if v.value == "" {
			return nil, &userError{Code: "address", Why: fmt.Sprintf("an agent on an address is called with mutual TLS: --%s is missing", v.name),
				Hint: fmt.Sprintf("give --%s, set %s, or put %q into the client configuration", v.name, v.env, v.name)}
		}
	}
	c, err := server.Client{Cert: r.Cert, Key: r.Key, CA: r.CA, ServerName: r.ServerName}.Credentials()
	if err != nil {
		return nil, &userError{Code: "address", Why: err.Error()}
	}
	return c, nil
}
