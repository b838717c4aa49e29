package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// applyAnswer is the JSON answer of apply and reload.
type applyAnswer struct {
	Revision   string            `json:"revision"`
	Generation uint32            `json:"generation"`
	Previous   string            `json:"previous_revision"`
	Probation  *server.Probation `json:"probation,omitempty"`
}

func (a *app) applyCmd() *cobra.Command {
	var confirm time.Duration
	req := &bailiffv1.ApplyPolicyRequest{}
	c := &cobra.Command{
		Use:   "apply BUNDLE",
		Short: "Put a bundle in force",
		Long: `Send a bundle (a directory or a tar.gz file) to the agent, which puts it in force
in place of the one that it was told to use, if nothing is wrong with it. With
--confirm the former policy comes back by itself unless you confirm in time,
whatever becomes of this terminal; a restart of the agent goes back, too.

A bundle that stays also outlasts a restart, until the agent's own bundle changes
or you say ` + "`bailiff reload`" + `: both make the agent read its own bundle again.`,
		Example: "  bailiff apply ./lockdown --confirm 60s\n  bailiff confirm",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if confirm < 0 || confirm > 0 && confirm < time.Second {
				return usageError{fmt.Errorf("--confirm %v is less than a second", confirm)}
			}
			if confirm > 0 {
				req.Confirm = durationpb.New(confirm)
			}
			var err error
			if req.Name, err = filepath.Abs(args[0]); err != nil {
				return fmt.Errorf("find %s: %w", args[0], err)
			}
			if req.Bundle, err = packBundle(args[0]); err != nil {
				return err
			}
			return a.apply(c, req)
		},
	}
	c.Flags().DurationVar(&confirm, "confirm", 0, "go back after this time unless \"bailiff confirm\" comes")
	c.Flags().BoolVar(&req.Force, "force", false, "even if it would lock out init, the agent, the package manager or root's login")
	return c
}

func (a *app) apply(c *cobra.Command, req *bailiffv1.ApplyPolicyRequest) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := bailiffv1.NewAgentServiceClient(conn).ApplyPolicy(c.Context(), req)
	if err != nil {
		return a.callError(err)
	}
	return a.applied(applyAnswer{r.GetRevision(), r.GetGeneration(), r.GetPreviousRevision(), server.DecodeProbation(r.GetProbation())})
}

func (a *app) applied(r applyAnswer) error {
	if a.output == "json" {
		return a.printJSON(r)
	}
	_, err := fmt.Fprintf(a.out, "policy %s is in force (generation %d), was %s\n%s", word(r.Revision), r.Generation, word(r.Previous), probationText(r.Probation))
	return err
}

// packBundle reads a bundle as tar.gz.
func packBundle(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read bundle: %w", err)
		}
		return b, nil
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// What an editor or a version control keeps is none of the bundle's.
			if name := d.Name(); file != path && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		return packFile(w, path, file)
	})
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack bundle: %w", err)
	}
	return out.Bytes(), nil
}

func packFile(w *tar.Writer, root, file string) error {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(rel), Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

func (a *app) confirmCmd() *cobra.Command {
	req := &bailiffv1.ConfirmRequest{}
	c := &cobra.Command{
		Use:   "confirm",
		Short: "Keep the change that is on probation",
		Long:  "Keep the change of policy or mode that is on probation (--confirm), or take it back now with --revert.",
		Example: `  bailiff confirm
  bailiff confirm --revert`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conn, err := a.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			r, err := bailiffv1.NewAgentServiceClient(conn).Confirm(c.Context(), req)
			if err != nil {
				return a.callError(err)
			}
			p := server.DecodeProbation(r.GetProbation())
			if a.output == "json" {
				return a.printJSON(map[string]any{"reverted": req.Revert, "probation": p})
			}
			what := "confirmed"
			if req.Revert {
				what = "taken back"
			}
			_, err = fmt.Fprintf(a.out, "%s: %s\n", what, visible(p.Text))
			return err
		},
	}
	c.Flags().BoolVar(&req.Revert, "revert", false, "go back instead")
	return c
}

func (a *app) reloadCmd() *cobra.Command {
	req := &bailiffv1.ReloadPolicyRequest{}
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make the agent read its bundle again",
		Long: `Make the agent read, or fetch, its own bundle again now; one that was applied
(bailiff apply) gives way to it. If anything is wrong with it the policy in force
stays, and what is wrong is said here and in the event stream.`,
		Example: `  bailiff reload
  bailiff reload --allow-rollback    # the bundle that is published now is an older one, on purpose`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conn, err := a.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			r, err := bailiffv1.NewAgentServiceClient(conn).ReloadPolicy(c.Context(), req)
			if err != nil {
				return a.callError(err)
			}
			return a.applied(applyAnswer{Revision: r.GetRevision(), Generation: r.GetGeneration(), Previous: r.GetPreviousRevision()})
		},
	}
	c.Flags().BoolVar(&req.AllowRollback, "allow-rollback", false, "accept a bundle that is older than the one in force")
	c.Flags().BoolVar(&req.Force, "force", false, "even if it would lock out init, the agent, the package manager or root's login")
	return c
}
