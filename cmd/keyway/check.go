package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/compat"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/registry"
)

func newCheckCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "check [TEMPLATE] [--on PLACE] [--image REF] [--gpus all|N|UUID,…]",
		Short: "Check whether a workspace will run at a place, before anything is pulled",
		Long: `Check whether a workspace will run at a place, before anything is made or pulled: the
image and its tag, its architecture, its CUDA against the place's driver and GPUs, whether
those GPUs are there and who holds them, the support there for GPUs in containers, shared
memory, limits, disk, mounts and clock, and the place's own templates. Each finding has its
remedy. A fact that cannot be found out is not counted as a failure.

This laptop asks the image's registry, with its own Docker credentials.` +
			exitCodes(append(placeKinds, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden, keyway.ImageNotFound,
				keyway.NoSpace, keyway.NoGPU, keyway.NotAllowed, keyway.BadConfig)...),
		Example:           "  keyway check pytorch --on gpu1\n  keyway check --on gpu1 --image my/image:1 --gpus 2",
		Args:              takes(0, 1, "at most one template"),
		ValidArgsFunction: completeTemplates,
		PreRunE:           refuseEmpty,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.template.command, o.template.names = "check", args
			return runCheck(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.place, "on", string(keyway.Local), "check it at `PLACE`: a host of your ~/.ssh/config, or local")
	f.StringVar(&o.image, "image", "", "check the image `REF`")
	f.StringVar(&o.engine, "engine", "", "check it with `ENGINE`: "+keyway.EngineChoice()+" (default: the first that can be used)")
	f.StringVar(&o.gpus, "gpus", "", "ask for `GPUS`: all, a number, device=0,3, or UUIDs separated by commas")
	f.StringArrayVarP(&o.mounts, "volume", "v", nil, "mount `SOURCE:TARGET`, or SOURCE:TARGET:ro; may be repeated")
	f.BoolVar(&o.json, "json", false, "print the findings as JSON")
	o.limits.declare(cmd)
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(keyway.EngineNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runCheck(ctx context.Context, o upOptions, stdout, news io.Writer) error {
	from, s, place, err := o.resolve(ctx, news)
	if err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	found, image, err := a.check(ctx, place, s, from.Arch)
	a.ui.end()
	if err != nil {
		return err
	}
	if s.Image == "" && image != "" {
		plain.Fprintf(news, "no image was named: checked with %s, which keyway up takes then, too; name yours with --image\n", image)
	}
	if o.json {
		err = printJSON(stdout, found)
	} else {
		err = printChecked(stdout, found, place)
	}
	return cmp.Or(err, verdict(found, place))
}

// check gathers the facts about the place and the image, and judges them. The place must have the
// architecture arch; empty: any. image is the name of
// the image that was examined; it is empty for workspaces without one.
func (a *app) check(ctx context.Context, place keyway.Place, s keyway.Spec, arch string) (found []compat.Finding, image string, err error) {
	node, err := a.NodeWithEngine(ctx, place, s.Engine)
	if err != nil {
		return nil, "", err
	}
	asked := compat.Asked{Spec: s, Place: place, Arch: arch}
	var meanwhile sync.WaitGroup
	if !s.GPUs.None() {
		meanwhile.Go(func() { asked.GPUs, asked.NoGPUs = lendable(ctx, node) })
	}
	began := time.Now()
	facts, err := node.Facts(ctx, s)
	asked.Now = began.Add(time.Since(began) / 2) // the place read its clock somewhere between the two times
	meanwhile.Wait()
	if err != nil {
		return nil, "", err
	}
	asked.Facts = facts
	found = a.againstTemplates(ctx, place, s)
	e := asked.Facts.Engine
	if e.Images {
		image = cmp.Or(s.Image, keyway.DefaultImage)
	}
	if e.Images && e.Why == nil && !e.Image.Present {
		a.UI.Progress(keyway.Progress{Message: "asking the registry"})
		if asked.Image, err = registry.Look(ctx, image, asked.Facts.Arch); err != nil {
			if ctx.Err() != nil {
				return nil, "", ctx.Err()
			}
			said := keyway.AsError(err)
			f := compat.Finding{Fatal: said.Kind != keyway.Unreachable, Kind: said.Kind, Text: said.Message, Fix: said.Next, Advice: said.Advice}
			if said.Kind == keyway.ImageNotFound {
				if hint := a.operatorsBring(ctx, place, image); hint != "" {
					f.Fix, f.Advice = hint, nil
				}
			}
			found = append(found, f)
		}
	}
	found = append(found, compat.Check(asked)...)
	for i, f := range found {
		found[i].Fix = next(f.Fix, f.Advice, place)
	}
	return found, image, nil
}

// lendable returns the place's report on its GPUs, or the reason why it can lend none. Any other
// failure to report does not keep a workspace from running, and is ignored.
func lendable(ctx context.Context, node *api.Client) (*keyway.GPUReport, *keyway.Error) {
	report, err := node.GPUs(ctx)
	switch {
	case keyway.Is(err, keyway.NoGPU):
		return nil, keyway.AsError(err)
	case err != nil:
		return nil, nil
	}
	return &report, nil
}

// againstTemplates returns what in s the place's own templates do not permit.
func (a *app) againstTemplates(ctx context.Context, place keyway.Place, s keyway.Spec) []compat.Finding {
	all, err := a.Templates(ctx, place)
	if err == nil {
		err = catalogue.Catalogue(all).Check(s)
	}
	if err == nil {
		return []compat.Finding{}
	}
	said := keyway.AsError(err)
	return []compat.Finding{{Fatal: true, Kind: said.Kind, Text: said.Message, Fix: next(said.Next, said.Advice, place), Host: place}}
}

func printChecked(stdout io.Writer, found []compat.Finding, place keyway.Place) error {
	for _, f := range found {
		mark := "warning"
		if f.Fatal {
			mark = "error"
		}
		explain(stdout, &keyway.Error{Message: f.Text, Next: f.Fix, Host: f.Host}, mark+": ", "  ")
	}
	if verdict(found, place) == nil {
		_, err := plain.Fprintf(stdout, "nothing is known that keeps it from running at %s\n", place)
		return err
	}
	return nil
}

// verdict returns an error if one of the findings keeps the workspace from running.
func verdict(found []compat.Finding, place keyway.Place) error {
	var first *compat.Finding
	errors := 0
	for i, f := range found {
		if !f.Fatal {
			continue
		}
		if errors++; first == nil {
			first = &found[i]
		}
	}
	if first == nil {
		return nil
	}
	what := "1 finding keeps"
	if errors > 1 {
		what = fmt.Sprintf("%d findings keep", errors)
	}
	return keyway.Errorf(first.Kind, "%s it from running at %s", what, place)
}
