package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
)

func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Copy images between places",
		Long: `Copy images from one place to another without a registry. The bytes pass through this
laptop, over your ssh's connections to both.`,
		Args: takes(1, 1, "a command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return keyway.Errorf(keyway.Usage, "%s has no command %.40q", cmd.CommandPath(), args[0]).Hint("keyway image copy gpu1 gpu2 IMAGE")
		},
		Example: "  keyway image copy gpu1 gpu2 team/pytorch:1",
	}
	cmd.AddCommand(newImageCopyCommand())
	return cmd
}

type imageCopyOptions struct {
	fromEngine, toEngine string
	json                 bool
}

func newImageCopyCommand() *cobra.Command {
	var o imageCopyOptions
	cmd := &cobra.Command{
		Use:   "copy FROM TO IMAGE",
		Short: "Copy an image from one place to another, without a registry",
		Long: `Copy an image from the place FROM to the place TO, over your ssh's connections to them.
The bytes pass through this laptop and are not kept here. A Docker that stores images by
itself receives only the layers that it lacks; Podman, and Docker with containerd's image
store, receive all of them. Afterwards both places have the same image under the same name,
or the command fails.

If TO has another image of that name, the name is taken from it.` +
			exitCodes(append(placeKinds, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden, keyway.ImageNotFound, keyway.Untrusted)...),
		Example: "  keyway image copy gpu1 gpu2 team/pytorch:1\n  keyway image copy local gpu1 team/pytorch:1",
		Args:    takes(3, 3, "two places and an image"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) < 2 {
				return completePlaces(cmd, nil, toComplete)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImageCopy(cmd.Context(), o, args, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.fromEngine, "from-engine", "", "take it from `ENGINE` (default: the first that can be used)")
	f.StringVar(&o.toEngine, "to-engine", "", "give it to `ENGINE` (default: the first that can be used)")
	f.BoolVar(&o.json, "json", false, "print what was copied as JSON")
	engines := cobra.FixedCompletions([]string{keyway.EngineDocker, keyway.EnginePodman}, cobra.ShellCompDirectiveNoFileComp)
	cmd.RegisterFlagCompletionFunc("from-engine", engines)
	cmd.RegisterFlagCompletionFunc("to-engine", engines)
	return cmd
}

func runImageCopy(ctx context.Context, o imageCopyOptions, args []string, stdout io.Writer) error {
	c := laptop.ImageCopy{Image: args[2], FromEngine: o.fromEngine, ToEngine: o.toEngine}
	var err error
	if c.From, err = keyway.ParsePlace(args[0]); err != nil {
		return err
	}
	if c.To, err = keyway.ParsePlace(args[1]); err != nil {
		return err
	}
	if !isReference(c.Image) {
		return keyway.Errorf(keyway.Usage, "%.100q cannot be the name of an image", c.Image).Advise(keyway.Example, "image", keyway.DefaultImage)
	}
	if c.From == c.To && c.FromEngine == c.ToEngine {
		return keyway.Errorf(keyway.Usage, "%s is both places: there is nothing to copy", c.From).Hint("for example: keyway image copy gpu1 gpu2 %s", plain.Shell(c.Image))
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	done, err := a.CopyImage(ctx, c, a.UI.Progress)
	a.ui.end()
	if err != nil {
		return err
	}
	if o.json {
		return plain.JSON(stdout, done)
	}
	how := fmt.Sprintf("%.1f MiB were sent", float64(done.Bytes)/(1<<20))
	if done.Had > 0 {
		how += fmt.Sprintf("; of its %d layers %d were there", done.Layers, done.Had)
	}
	_, err = plain.Fprintf(stdout, "%s has %s as %s has it: %s\n", c.To, c.Image, c.From, how)
	return err
}
