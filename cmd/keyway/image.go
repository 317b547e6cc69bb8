package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/images"
	"keyway/internal/keyway"
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
			return keyway.Errorf(keyway.Usage, "%s has no command %.40q", cmd.CommandPath(), args[0]).Hint("for example: keyway image copy gpu1 gpu2 %s", keyway.DefaultImage)
		},
		Example: "  keyway image copy gpu1 gpu2 team/pytorch:1",
	}
	cmd.AddCommand(newImageCopyCommand())
	return cmd
}

type imageCopyOptions struct {
	fromEngine, toEngine string
	json, replace        bool
}

func newImageCopyCommand() *cobra.Command {
	var o imageCopyOptions
	cmd := &cobra.Command{
		Use:   "copy FROM TO [IMAGE]",
		Short: "Copy an image between places or files, without a registry",
		Long: `Copy an image from the place FROM to the place TO, over your ssh's connections to them.
The bytes pass through this laptop and are not kept here. A Docker that stores images by
itself receives only the layers that it lacks; Podman, and Docker with containerd's image
store, receive all of them. Afterwards both places have the same image under the same name,
or the command fails.

FROM or TO may be a file of this laptop, with a / in its name or .tar, .tar.gz or .tgz at
its end: what docker save writes and docker load reads. Without IMAGE, an image from a file
gets the name that the file gives it.

If TO has another image of that name, keyway asks before it takes the name from that image
(--replace), which other users of TO may need.` +
			exitCodes(append(placeKinds, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden, keyway.ImageNotFound, keyway.Untrusted, keyway.NotAllowed, keyway.NeedsAnswer)...),
		Example: "  keyway image copy gpu1 gpu2 team/pytorch:1\n  keyway image copy local gpu1 team/pytorch:1\n  keyway image copy pytorch.tar gpu1\n  keyway image copy gpu1 ./pytorch.tar team/pytorch:1",
		Args:    takes(2, 3, "two places, or a place and a file, and an image"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) < 2 {
				places, _ := completePlaces(cmd, nil, toComplete)
				return places, cobra.ShellCompDirectiveDefault // and files
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImageCopy(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.fromEngine, "from-engine", "", "take it from `ENGINE` (default: the first that can be used)")
	f.StringVar(&o.toEngine, "to-engine", "", "give it to `ENGINE` (default: the first that can be used)")
	f.BoolVar(&o.replace, "replace", false, replaceHelp)
	f.BoolVar(&o.json, "json", false, "print what was copied as JSON")
	engines := cobra.FixedCompletions(keyway.EnginesOfImages(), cobra.ShellCompDirectiveNoFileComp)
	cmd.RegisterFlagCompletionFunc("from-engine", engines)
	cmd.RegisterFlagCompletionFunc("to-engine", engines)
	return cmd
}

// isImageFile reports whether an argument is a file, as opposed to a place.
func isImageFile(arg string) bool {
	for _, end := range []string{".tar", ".tar.gz", ".tgz"} {
		if strings.HasSuffix(arg, end) {
			return true
		}
	}
	return strings.ContainsRune(arg, '/') || strings.ContainsRune(arg, filepath.Separator)
}

// ends returns the source and the destination of a copy, each a place or a file.
func (o imageCopyOptions) ends(args []string) (c images.ImageCopy, from, to string, err error) {
	c = images.ImageCopy{FromEngine: o.fromEngine, ToEngine: o.toEngine}
	if len(args) == 2 && strings.ContainsRune(args[0], ':') && isReference(args[0]) && !isImageFile(args[0]) {
		return c, "", "", keyway.Errorf(keyway.Usage, "no place is named from which %.100s is copied", args[0]).
			Hint("for example: keyway image copy local %s %s", plain.Shell(args[1]), plain.Shell(args[0]))
	}
	if len(args) > 2 {
		c.Image = args[2]
	}
	if from = args[0]; !isImageFile(from) {
		from = ""
		c.From, err = keyway.ParsePlace(args[0])
	}
	if to = args[1]; err == nil && !isImageFile(to) {
		to = ""
		c.To, err = keyway.ParsePlace(args[1])
	}
	switch {
	case err != nil:
	case from != "" && to != "":
		err = keyway.Errorf(keyway.Usage, "%s and %s are both files", from, to).Hint("for example: keyway image copy %s gpu1", plain.Shell(from))
	case c.Image == "" && from == "":
		err = keyway.Errorf(keyway.Usage, "which image?").Hint("for example: keyway image copy %s %s %s", plain.Shell(args[0]), plain.Shell(args[1]), keyway.DefaultImage)
	case c.Image != "" && !isReference(c.Image):
		err = keyway.Errorf(keyway.Usage, "%.100q cannot be the name of an image", c.Image).Advise(keyway.Example, "image", keyway.DefaultImage)
	case from == "" && to == "" && c.From == c.To && c.FromEngine == c.ToEngine:
		err = keyway.Errorf(keyway.Usage, "%s is both places: there is nothing to copy", c.From).Hint("for example: keyway image copy gpu1 gpu2 %s", plain.Shell(c.Image))
	}
	return c, from, to, err
}

const replaceHelp = "take the name from another image that has it at the place, without a question"

// replaces returns a function that asks before an image at a place loses its name to another.
// beforehand is the value of --replace, which answers yes.
func (a *app) replaces(ctx context.Context, news io.Writer, beforehand bool) images.Replace {
	return func(place keyway.Place, image string, there keyway.ImageLayers) error {
		a.ui.end()
		if keyway.IsDigest(there.ID) {
			image += " (" + there.ID[len("sha256:"):][:12] + ")"
		}
		if beforehand {
			plain.Fprintf(news, "%s has another image %s so far\n", place, image)
			return nil
		}
		yes, err := ask(ctx, news, plain.Sprintf("%s has another image %s, which others may use. Take the name from it?", place, image), "--replace", false)
		if err == nil && !yes {
			err = declined(plain.Sprintf("%s keeps its image %s", place, image)).Hint("give the new one another name")
		}
		return err
	}
}

func runImageCopy(ctx context.Context, o imageCopyOptions, args []string, stdout, news io.Writer) error {
	c, from, to, err := o.ends(args)
	if err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	c.Replace = a.replaces(ctx, news, o.replace)
	var done images.Copied
	switch {
	case from != "":
		done, err = images.Load(ctx, a, from, c, a.UI.Progress)
	case to != "":
		done, err = images.Save(ctx, a, c, to, a.UI.Progress)
	default:
		done, err = images.Copy(ctx, a, c, a.UI.Progress)
	}
	a.ui.end()
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(stdout, done)
	}
	if done.Nameless {
		plain.Fprintf(news, toFill("%[1]s gives the image no name, because a digest and an ID are none; name it where it goes: keyway image copy %[1]s gpu1 IMAGE\n"), plain.Shell(to))
	}
	how := size(done.Bytes) + " were sent"
	if done.Had > 0 {
		how += fmt.Sprintf("; it has %d of %d layers from before", done.Had, done.Layers)
	}
	_, err = plain.Fprintf(stdout, "%s has %s as %s has it: %s\n", args[1], done.Image, args[0], how)
	return err
}
