package main

import (
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// dial returns a connection to the agent, which is made at the first call: to
// its socket, or to an address with mutual TLS. The socket needs no encryption:
// it never leaves the machine, and the kernel tells the agent who calls.
func (a *app) dial() (*grpc.ClientConn, error) {
	r, err := a.resolve()
	if err != nil {
		return nil, err
	}
	target, creds := r.Address, insecure.NewCredentials()
	if r.Address != "" {
		if creds, err = r.credentials(); err != nil {
			return nil, err
		}
		a.target = r.Address
	} else {
		path, err := filepath.Abs(r.socket)
		if err != nil {
			return nil, fmt.Errorf("find socket: %w", err)
		}
		target = "unix://" + path
		a.target = r.socket
	}
	c, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		// An agent whose machine went down does not say so: it is asked.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", a.target, err)
	}
	return c, nil
}
