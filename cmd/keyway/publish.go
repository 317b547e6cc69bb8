package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/internal/plain"
	"keyway/internal/registry"
	"keyway/internal/template/compose"
)

type publishOptions struct {
	names              []string
	to                 string
	only, byName, json bool
}

func newTemplatesPublishCommand() *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish TEMPLATE… [--to DIR] [--only]",
		Short: "Write templates as a place's operators publish them",
		Long: `Resolve templates, and write each as the file TEMPLATE.json that the operators of a
place put into ` + catalogue.Dir + ` there: what a workspace gets, its image by the
digest that the registry names today, and what users may change. That is
x-keyway.override of the template:

  x-keyway:
    override:
      gpus: 4                # up to 4
      shm_size: 64gb         # also cpus, mem_limit, pids_limit, tmpfs
      environment: ["HF_*"]  # these variables
      volumes: [/scratch, /data:ro, "cache-*"]
      command: true          # also working_dir, labels, secrets, user

Users cannot change a setting that is not named there. A directory does not include those
below it. The node of the place enforces this. It trusts only files that belong to root and
that no other user can write to.

With --only, the place makes workspaces from its own templates alone. That does not bind
users that may use Docker there by other means; see docs/TEMPLATES.md.

Without --to, the file of one template goes to standard output.` +
			exitCodes(keyway.ImageNotFound, keyway.Unreachable, keyway.BadConfig),
		Example: `  keyway templates publish train --to .
  keyway templates publish train |
      ssh gpu1 sudo tee ` + catalogue.Dir + `/train.json >/dev/null
  keyway templates publish train eval --only --to ./published`,
		Args:              takes(1, -1, "the templates to publish"),
		ValidArgsFunction: completePublishable,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			return runPublish(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "write TEMPLATE.json into the directory `DIR`")
	f.BoolVar(&o.only, "only", false, "let the place make workspaces from its templates only")
	f.BoolVar(&o.byName, "by-name", false, "keep the image's name, without a digest: for images that no registry has")
	f.BoolVar(&o.json, "json", false, "print what was published as JSON")
	_ = cmd.MarkFlagDirname("to")
	return cmd
}

// completePublishable completes any number of templates.
func completePublishable(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return completeTemplates(cmd, nil, word)
}

func runPublish(ctx context.Context, o publishOptions, stdout, news io.Writer) error {
	if o.to == "" && len(o.names) > 1 {
		return keyway.Errorf(keyway.Usage, "%d templates are %d files", len(o.names), len(o.names)).Hint("say where they go: --to DIR")
	}
	var all []catalogue.Template
	for _, name := range o.names {
		t, err := o.publish(ctx, name, news)
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	for _, t := range all {
		if err := o.write(t, stdout, news); err != nil {
			return err
		}
	}
	if o.json && o.to != "" {
		return printJSON(stdout, all)
	}
	return nil
}

// publish resolves one template.
func (o publishOptions) publish(ctx context.Context, name string, news io.Writer) (catalogue.Template, error) {
	f, err := finder()
	if err != nil {
		return catalogue.Template{}, err
	}
	found, err := f.Find(name)
	if err != nil {
		return catalogue.Template{}, forCommand("templates publish", err)
	}
	home, _ := os.UserHomeDir()
	used := map[string]bool{}
	where := compose.Where{Home: home, Lookup: func(name string) (string, bool) {
		v, ok := os.LookupEnv(name)
		if ok && !used[name] {
			used[name] = true
			plain.Fprintf(news, "the variable %s of this laptop goes into %s\n", name, found.Name)
		}
		return v, ok
	}}
	t, err := found.Publish(where, func(image string) (string, error) { return o.resolveImage(ctx, image) })
	t.Only = o.only
	return t, err
}

// resolveImage returns the image with the digest that its registry has for it now.
func (o publishOptions) resolveImage(ctx context.Context, image string) (string, error) {
	if o.byName || strings.Contains(image, "@sha256:") {
		return image, nil
	}
	facts, err := registry.Look(ctx, image, "amd64")
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		said := keyway.AsError(err)
		return "", keyway.Errorf(said.Kind, "the digest of %s is not known: %w", image, err).
			Hint("%s", strings.TrimPrefix(nextOf(said)+"\nif no registry has it: --by-name", "\n"))
	}
	return pin.ByDigest(image, facts.Digest), nil
}

func (o publishOptions) write(t catalogue.Template, stdout, news io.Writer) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if o.to == "" {
		_, err := stdout.Write(data)
		return err
	}
	path := filepath.Join(o.to, t.Name+catalogue.Suffix)
	if err := os.MkdirAll(o.to, 0o755); err != nil {
		return keyway.Errorf(keyway.BadConfig, "%s cannot be made: %w", o.to, err).Hint("name a directory of yours: --to .")
	}
	if err := keyway.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	plain.Fprintf(news, "%s: %s; users may change %s\ninstall it at the place, as root: install -D -o root -g root -m 644 %[1]s %[4]s\n",
		plain.Shell(path), t.Spec.Image, changeable(t.Override), catalogue.Dir+"/"+t.Name+catalogue.Suffix)
	return nil
}
