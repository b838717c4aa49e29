package main

import (
	"fmt"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// dial returns a connection to the agent's socket; it is made at the first
// call. The socket needs no encryption: it never leaves the machine, and the
// kernel tells the agent who calls.
func (a *app) dial() (*grpc.ClientConn, error) {
	path, err := filepath.Abs(a.socket)
	if err != nil {
		return nil, fmt.Errorf("find socket: %w", err)
	}
	c, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	return c, nil
}
