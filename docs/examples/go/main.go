// Command go is a client of the event stream that knows the proto and nothing
// else of Bailiff. It prints each event as a line of JSON and keeps its place in
// a file: started again it goes on where it stopped.
//
//	go run ./docs/examples/go -socket /run/bailiff/bailiff.sock -cursor place.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func main() {
	socket := flag.String("socket", "/run/bailiff/bailiff.sock", "where the agent listens")
	file := flag.String("cursor", "", "file that keeps the place; empty: only what happens from now on")
	limit := flag.Int("limit", 0, "end after this many events; 0: never")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *socket, *file, *limit); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, socket, file string, limit int) error {
	// On a unix socket the agent knows who calls; on TCP it wants mutual TLS.
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	request := &bailiffv1.EventsRequest{}
	if file != "" {
		if request.After, err = load(file); err != nil {
			return err
		}
	}
	stream, err := bailiffv1.NewEventServiceClient(conn).Events(ctx, request)
	if err != nil {
		return err
	}
	place := &bailiffv1.Cursor{}
	for n := 0; ; {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, r := range batch.GetRecords() {
			switch {
			case r.GetStart() != nil: // events of this run follow
				place.RunId = r.GetStart().GetRunId()
				continue
			case r.GetGap() != nil: // these are lost, and here is why
				if g := r.GetGap(); g.GetRunId() != "" && g.GetCount() > 0 {
					place.RunId, place.Seq = g.GetRunId(), g.GetLastSeq()
				}
			case r.GetEvent() != nil:
				place.Seq = r.GetEvent().GetSeq()
				n++
			}
			line, err := protojson.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", line)
			if n == limit && limit > 0 {
				return save(file, place)
			}
		}
		// Only now, when all of the batch is safe.
		if err := save(file, place); err != nil {
			return err
		}
	}
}

// load reads the place; without a file it is the oldest event there is.
func load(file string) (*bailiffv1.Cursor, error) {
	c := &bailiffv1.Cursor{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	return c, json.Unmarshal(b, c)
}

// save replaces the file, so that there is always a whole one.
func save(file string, c *bailiffv1.Cursor) error {
	if file == "" || c.GetSeq() == 0 {
		return nil
	}
	b, err := json.Marshal(map[string]any{"run_id": c.GetRunId(), "seq": c.GetSeq()})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".place-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
