package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/table"
	"keyway/internal/template"
	"keyway/internal/template/devcontainer"
)

func newTemplatesCommand() *cobra.Command {
	asJSON, on := false, ""
	cmd := &cobra.Command{
		Use:   "templates [--on PLACE]",
		Short: "List the templates that keyway up takes, in order of precedence",
		Long: `List the templates that "keyway up TEMPLATE" takes. A template is a service of a
Compose file; docs/TEMPLATES.md has its fields. keyway searches in this order, and uses
the first of a name:

  repository   keyway.yaml, compose.yaml or docker-compose.yaml in the
               working directory or above it, up to the root of the
               repository or your home directory; then a
               devcontainer.json there, by the name devcontainer
  mine         *.yaml in the directory templates beside config.yaml
  the place    with --on: what the operators of PLACE publish there
  built in     this program's

For a template that cannot be used as it is, the list says why. --json also has the
options that a place's template leaves to you, and their limits.` + exitCodes(append(placeKinds, keyway.BadConfig, keyway.Untrusted)...),
		Example: "  keyway templates\n  keyway templates --on gpu1\n  keyway templates --json",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runTemplates(cmd.Context(), on, asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "also list what `PLACE` has published: a host of your ~/.ssh/config, or local")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.AddCommand(newTemplatesPublishCommand())
	return cmd
}

// templateRow is a template in the list.
type templateRow struct {
	Name   string        `json:"name"`
	Source string        `json:"source"`
	File   string        `json:"file"`
	Image  string        `json:"image,omitempty"`
	GPUs   string        `json:"gpus,omitempty"`
	Wins   bool          `json:"wins"`
	Why    string        `json:"why"`             // why it is used or shadowed
	Error  *keyway.Error `json:"error,omitempty"` // why it cannot be used
	// Override lists the settings of a place's template that users may change.
	Override *catalogue.Override `json:"override,omitempty"`
	// Only reports whether the place makes workspaces only from its own templates.
	Only bool `json:"only,omitempty"`
	// Left lists the settings of a devcontainer.json that a workspace does not get.
	Left []devcontainer.Left `json:"left,omitempty"`
}

func runTemplates(ctx context.Context, on string, asJSON bool, stdout io.Writer) error {
	f, err := finder()
	if err != nil {
		return err
	}
	if on != "" {
		f.AskPlace = askPlace(ctx, on)
	}
	all, problems := f.List()
	rows := templateRows(all)
	if asJSON {
		err = printJSON(stdout, rows)
	} else {
		err = printTemplates(rows, stdout)
	}
	if err != nil || len(problems) == 0 {
		return err
	}
	return problems[0]
}

func templateRows(all []template.Template) []templateRow {
	winners := map[string]template.Template{}
	rows := []templateRow{}
	for _, t := range all {
		winner, hidden := winners[t.Name]
		r := templateRow{Name: t.Name, Source: string(t.Source), File: t.File, Left: inWords(t.Left), Wins: !hidden, Why: "the only one of its name"}
		if hidden {
			r.Why = "hidden by " + string(winner.Source) + " (" + winner.File + ")"
			for i := range rows {
				if rows[i].Name == t.Name && rows[i].Wins {
					rows[i].Why = "comes before " + string(t.Source)
				}
			}
		} else {
			winners[t.Name] = t
		}
		if a, err := resolveAt(t, string(keyway.Local)); err != nil {
			r.Error = spelledOut(keyway.AsError(err))
		} else {
			r.Image, r.GPUs = a.Spec.Image, a.Spec.GPUs.String()
		}
		if t.Published != nil {
			r.Override, r.Only = &t.Published.Override, t.Published.Only
		}
		rows = append(rows, r)
	}
	return rows
}

// inWords returns the settings that were left out, each with its replacement.
func inWords(all []devcontainer.Left) []devcontainer.Left {
	words := slices.Clone(all)
	for i, l := range all {
		words[i].Why, words[i].Advice = whyLeft(l), nil
	}
	return words
}

// changeable returns an Override in a few words.
func changeable(o catalogue.Override) string {
	var words []string
	add := func(given bool, format string, args ...any) {
		if given {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(o.GPUs > 0, "--gpus ≤ %d", o.GPUs)
	add(o.CPUs > 0, "--cpus ≤ %g", o.CPUs)
	add(o.Memory > 0, "--memory ≤ %s", catalogue.Size(o.Memory))
	add(o.ShmSize > 0, "--shm-size ≤ %s", catalogue.Size(o.ShmSize))
	add(o.PidsLimit > 0, "--pids-limit ≤ %d", o.PidsLimit)
	add(o.Tmpfs > 0, "--tmpfs ≤ %s", catalogue.Size(o.Tmpfs))
	add(len(o.Env) > 0, "-e %s", strings.Join(o.Env, ","))
	add(len(o.Volumes) > 0, "-v %s", strings.Join(o.Volumes, ","))
	add(len(o.Free) > 0, "%s", strings.Join(o.Free, ", "))
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

func printTemplates(rows []templateRow, stdout io.Writer) error {
	lines := [][]string{{"NAME", "SOURCE", "GPUS", "IMAGE", "NOTE"}}
	for _, r := range rows {
		note := ""
		if !r.Wins || strings.HasPrefix(r.Why, "comes before") {
			note = r.Why
		}
		if r.Override != nil {
			note = strings.TrimPrefix(note+"; you may change "+changeable(*r.Override), "; ")
		}
		if len(r.Left) > 0 {
			note = strings.TrimPrefix(note+fmt.Sprintf("; %d of its settings are not taken over", len(r.Left)), "; ")
		}
		if r.Error != nil {
			note = "cannot be used, see below"
		}
		line := []string{r.Name, r.Source, r.GPUs, r.Image, note}
		for i, cell := range line {
			line[i] = plain.Line(clip(cell, maxCell))
		}
		lines = append(lines, line)
	}
	t := table.Table{Window: windowOf(stdout), Yield: []int{4}}
	if _, err := io.WriteString(stdout, t.Rows(lines)); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Error == nil {
			continue
		}
		if _, err := plain.Fprintf(stdout, "%s of %s cannot be used: %s\n", r.Name, r.Source, r.Error.Message); err != nil {
			return err
		}
	}
	return nil
}
