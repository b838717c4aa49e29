package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/download"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/plugins/rest"

	"example.com/bailiff/policy"
)

// ErrUnreachable marks that a bundle could not be fetched, as opposed to one
// that came and is refused.
var ErrUnreachable = errors.New("the bundle cannot be fetched")

// Unreachable says whether an error is of fetching alone.
func Unreachable(err error) bool {
	return errors.Is(err, ErrUnreachable) && !errors.As(err, new(policy.Errors))
}

// downloader is what both of OPA's downloaders are.
type downloader interface {
	Start(context.Context)
	Stop(context.Context)
	Trigger(context.Context) error
	SetCache(string)
}

// connection is one downloader with what stands between it and the network.
type connection struct {
	downloader
	screen *screen
	store  string // directory of a registry's blobs; "": none
}

// connect makes a downloader. whole says that deltas are not wanted now. done is
// called with what came, in the downloader's goroutine; nil and nil is "nothing
// new".
func (s *Source) connect(manual bool, whole func() bool, done func(context.Context, *arrival, string, error) error) (*connection, error) {
	empty, err := emptyBundle()
	if err != nil {
		return nil, err
	}
	c := &connection{screen: &screen{
		read:  func(r io.Reader) (*policy.Archive, error) { return policy.Read(r, s.o.Policy) },
		limit: s.archiveLimit(), oci: s.where.kind == kindOCI, empty: empty,
	}}
	long := s.o.Remote.LongPoll >= time.Second && !manual
	c.screen.prefer = func() string {
		if s.where.kind == kindOCI || !whole() {
			return ""
		}
		if long {
			return fmt.Sprintf("modes=snapshot;wait=%d", int64(s.o.Remote.LongPoll/time.Second))
		}
		return "modes=snapshot"
	}
	client, err := s.client(c.screen)
	if err != nil {
		return nil, err
	}
	config, err := s.polling(manual, long)
	if err != nil {
		return nil, err
	}
	callback := func(ctx context.Context, u download.Update) error {
		came, refused := c.screen.take()
		etag := u.ETag
		switch {
		case refused != nil:
			return done(ctx, nil, "", refused)
		case came != nil:
			if s.where.kind == kindOCI {
				// OPA's reader cannot verify all that ours can: a bundle that
				// it refuses has passed here, or it would not have come.
				sum := sha256.Sum256(came.raw)
				etag = hex.EncodeToString(sum[:])
				c.SetCache(etag)
			}
			return done(ctx, came, etag, nil)
		case u.Error != nil:
			return done(ctx, nil, "", fmt.Errorf("%w: %s: %w", ErrUnreachable, s.where.text, u.Error))
		}
		return done(ctx, nil, etag, nil)
	}
	if s.where.kind == kindHTTP {
		c.downloader = download.New(config, client, s.where.path).WithCallback(callback)
		return c, nil
	}
	if c.store, err = os.MkdirTemp("", "bailiff-oci-"); err != nil {
		return nil, fmt.Errorf("make directory for blobs: %w", err)
	}
	d := download.NewOCI(config, client, s.where.path, c.store).WithCallback(callback)
	if s.o.Policy.Keys != nil {
		d = d.WithBundleVerificationConfig(bundle.NewVerificationConfig(s.o.Policy.Keys.OPA(), "", s.o.Policy.Keys.Scope(), nil))
	}
	c.downloader = d
	return c, nil
}

// close removes what a downloader leaves behind.
func (c *connection) close() {
	if c.store != "" {
		_ = os.RemoveAll(c.store)
	}
}

// client makes OPA's HTTP client for the configured service.
func (s *Source) client(sc *screen) (rest.Client, error) {
	service := maps.Clone(s.o.Remote.Service)
	if service == nil {
		service = map[string]any{}
	}
	part := func(key string) map[string]any {
		m, _ := service[key].(map[string]any)
		m = maps.Clone(m)
		if m == nil {
			m = map[string]any{}
		}
		service[key] = m
		return m
	}
	service["name"], service["url"] = "bundles", s.where.base
	credentials, r := part("credentials"), &s.o.Remote
	if s.where.kind == kindOCI {
		service["type"] = "oci"
	}
	if r.CA != "" {
		part("tls")["ca_cert"] = r.CA
	}
	if r.TokenFile != "" {
		bearer := map[string]any{"token_path": r.TokenFile}
		if s.where.kind == kindOCI {
			bearer["scheme"] = "Basic"
		}
		credentials["bearer"] = bearer
	}
	if r.Cert != "" {
		credentials["client_tls"] = map[string]any{"cert": r.Cert, "private_key": r.Key, "cert_reread_interval_seconds": 60}
	}
	credentials["plugin"] = "screen"
	b, err := json.Marshal(service)
	if err != nil {
		return rest.Client{}, fmt.Errorf("write service: %w", err)
	}
	client, err := rest.New(b, nil, rest.Logger(&logger{log: s.log}), rest.AuthPluginLookup(func(string) rest.HTTPAuthPlugin { return sc }))
	if err != nil {
		return rest.Client{}, fmt.Errorf("read service of the bundle: %w", err)
	}
	return client, nil
}

// polling is the downloader's configuration, in whole seconds.
func (s *Source) polling(manual, long bool) (download.Config, error) {
	seconds := func(d time.Duration) *int64 {
		n := max(1, int64(d/time.Second))
		return &n
	}
	trigger := plugins.TriggerPeriodic
	if manual {
		trigger = plugins.TriggerManual
	}
	c := download.Config{Trigger: &trigger}
	c.Polling.MinDelaySeconds, c.Polling.MaxDelaySeconds = seconds(s.o.Remote.MinDelay), seconds(s.o.Remote.MaxDelay)
	if long {
		c.Polling.LongPollingTimeoutSeconds = seconds(s.o.Remote.LongPoll)
	}
	if err := c.ValidateAndInjectDefaults(); err != nil {
		return c, fmt.Errorf("configure polling: %w", err)
	}
	return c, nil
}

// fetchOnce gets the whole bundle now.
func (s *Source) fetchOnce(ctx context.Context, rollback bool) (*Candidate, error) {
	type result struct {
		c   *Candidate
		err error
	}
	results := make(chan result, 1)
	c, err := s.connect(true, func() bool { return true }, func(ctx context.Context, came *arrival, _ string, err error) error {
		if err == nil && came == nil {
			err = fmt.Errorf("%w: %s: the server has none", ErrUnreachable, s.where.text)
		}
		var r result
		if r.err = err; err == nil {
			r.c, r.err = s.received(ctx, came.archive, came.raw, rollback)
		}
		results <- r
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer c.close()
	defer c.Stop(ctx)
	_ = c.Trigger(ctx) // the callback is told the same, and is always called
	r := <-results
	return r.c, r.err
}
