package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"example.com/bailiff/rules"
)

func (a *app) initCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "init",
		Short: "Make something to begin with",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.initPolicyCmd())
	for _, sub := range c.Commands() {
		sub.Args = usage(sub.Args)
	}
	return c
}

func (a *app) initPolicyCmd() *cobra.Command {
	var baseline bool
	c := &cobra.Command{
		Use:   "policy DIR",
		Short: "Make a bundle of rules with tests, data and settings for editors",
		Long: `Make a bundle in a directory (made if it is not there): a few rules for exec, open
and fork with their Rego tests and scenarios, data, exceptions, a manifest, JSON
Schemas, settings for editors and a README. It works as it is: "bailiff check DIR"
and "bailiff test DIR" pass. Nothing that is there is overwritten.

With --baseline the rules are those that are built in, to be changed: their
exceptions are exceptions/data.json, where bailiff report --exceptions belongs.`,
		Example: `  bailiff init policy ./rules
  bailiff test ./rules --require-covered
  bailiff init policy --baseline /etc/bailiff/rules`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.initPolicy(args[0], baseline) },
	}
	c.Flags().BoolVar(&baseline, "baseline", false, "all the rules that are built in, instead of a few to begin with")
	return c
}

// made is the answer of init in JSON.
type made struct {
	Dir   string   `json:"dir"`
	Files []string `json:"files"`
}

func (a *app) initPolicy(dir string, baseline bool) error {
	files, err := starterFiles()
	if baseline && err == nil {
		err = baselineFiles(files)
	}
	if err != nil {
		return err
	}
	out := made{Dir: dir, Files: []string{}}
	for name := range files {
		out.Files = append(out.Files, name)
	}
	slices.Sort(out.Files)
	for _, name := range out.Files { // before anything is written
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return &userError{Code: "exists", Why: filepath.Join(dir, name) + " is there already", Hint: "name a directory that is empty or not there yet"}
		}
	}
	for _, name := range out.Files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("make file: %w", err)
		}
		_, err = f.Write(files[name])
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	if a.output == "json" {
		return a.printJSON(out)
	}
	_, err = fmt.Fprintf(a.out, "%s: %d files; %s says what they are\nnow: bailiff check %s && bailiff test %s\n",
		word(dir), len(out.Files), word(filepath.Join(dir, "README.md")), word(dir), word(dir))
	return err
}

// starterFiles are the files of the starter bundle, with the schemas of this
// version.
func starterFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(rules.Starter, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[filepath.FromSlash(p)], err = fs.ReadFile(rules.Starter, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read starter bundle: %w", err)
	}
	for _, name := range schemaNames {
		s, err := schemaOf(name)
		if err != nil {
			return nil, err
		}
		b, err := jsonIndent(s)
		if err != nil {
			return nil, err
		}
		files[filepath.Join("schemas", name+".json")] = b
	}
	return files, nil
}

// baselineFiles puts the rules that are built in in the place of those of the
// starter bundle; what is for people and editors stays.
func baselineFiles(files map[string][]byte) error {
	for name := range files {
		if ext := filepath.Ext(name); ext == ".rego" || ext == ".yaml" || filepath.Base(name) == "data.json" {
			delete(files, name)
		}
	}
	err := fs.WalkDir(rules.FS, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[filepath.FromSlash(p)], err = fs.ReadFile(rules.FS, p)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the embedded rules: %w", err)
	}
	// Its revision is another's from the first change on.
	var manifest map[string]any
	if err := json.Unmarshal(files[".manifest"], &manifest); err != nil {
		return fmt.Errorf("read the manifest of the embedded rules: %w", err)
	}
	manifest["revision"] = fmt.Sprint(manifest["revision"], "-own-1")
	files[".manifest"], err = json.Marshal(manifest)
	return err
}
