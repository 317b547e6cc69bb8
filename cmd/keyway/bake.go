package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/assets"
	"keyway/internal/bake"
	"keyway/internal/images"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/registry"
)

type bakeOptions struct {
	up        upOptions // the template, the image, the place and the engine
	tag, file string
	arches    []string
	push      bool
	replace   bool
	atPlace   bool // --on was given
}

// guestArches lists the architectures for which there is a guest.
var guestArches = []string{"amd64", "arm64"}

func newBakeCommand() *cobra.Command {
	var o bakeOptions
	cmd := &cobra.Command{
		Use:   "bake [TEMPLATE] --tag NAME [--image REF] [--on PLACE | --push] [--output FILE]",
		Short: "Make an image that serves SSH without keyway",
		Long: `Make an image that serves SSH by itself, for platforms that only start images from a
registry, and where keyway cannot run. It is the image of TEMPLATE, or of --image, and one
layer more with keyway's guest, a small SSH server. No Dockerfile and no docker build is
needed.

The image is made by the engine of a place (--on; this machine without it), pushed to its
registry (--push, with this laptop's docker login, for each architecture that the image is
built for), or written into a file, as docker save does (--output). keyway asks before it
takes NAME from another image of the place (--replace).

To run it where there is no keyway:

  docker run -d -p 2222:22 --name train \
      -e KEYWAY_AUTHORIZED_KEYS="$(ssh-add -L)" NAME
  key=$(docker logs train 2>&1 | grep -om1 'ssh-ed25519 .*')
  echo "[gpu1]:2222 $key" >>~/.ssh/known_hosts
  ssh -p 2222 root@gpu1

The container needs a public key, in KEYWAY_AUTHORIZED_KEYS or in a file mounted at
` + string(keyway.GuestHome) + `/keys, and does not start without one. KEYWAY_PORT sets another port. The host
key is not in the image: it is made at the first start, and printed to the log. A volume at
` + keyway.GuestHome.Data() + ` keeps it, and the logs of jobs. The image's own entry point is not started;
a command after NAME runs beside the SSH server.

keyway up makes workspaces of such an image as of any other, and uses the SSH server that
keyway brings, not the one in the image.

The same image and the same keyway give the same result. Labels name the base image, its
digest and the guest.` +
			exitCodes(append(placeKinds, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden, keyway.ImageNotFound, keyway.Untrusted, keyway.NotAllowed, keyway.BadConfig, keyway.NeedsAnswer)...),
		Example: "  keyway bake pytorch -t team/pytorch:ssh\n  keyway bake pytorch -t registry.example.org/team/pytorch:ssh --push\n" +
			"  keyway bake --image my/image:1 -t my/image:ssh --on gpu1\n  keyway bake pytorch -t team/pytorch:ssh -o pytorch.tar",
		Args:              takes(0, 1, "at most one template"),
		ValidArgsFunction: completeTemplates,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.up.template.command, o.up.template.names = "bake", args
			o.atPlace = cmd.Flags().Changed("on") || cmd.Flags().Changed("engine")
			return runBake(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.tag, "tag", "t", "", "call the image `NAME`")
	f.StringVar(&o.up.image, "image", "", "put the SSH server into the image `REF` (default: the template's)")
	f.StringVar(&o.up.place, "on", string(keyway.Local), "make it at `PLACE`, from the image there: a host of your ~/.ssh/config, or local")
	f.StringVar(&o.up.engine, "engine", "", "make it with `ENGINE` (default: the first that can be used)")
	f.BoolVar(&o.push, "push", false, "make it from the image in its registry, and push it to the registry in NAME")
	f.StringVarP(&o.file, "output", "o", "", "write it into `FILE` on this laptop; without --on, from the image in its registry")
	f.StringSliceVar(&o.arches, "arch", nil, "take the image's builds for `ARCH` from its registry: "+strings.Join(guestArches, ", ")+"; may be repeated\n(default: with --push all, else this machine's)")
	f.BoolVar(&o.replace, "replace", false, replaceHelp)
	f.BoolVar(&o.up.json, "json", false, "print what was made as JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(keyway.EnginesOfImages(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions(guestArches, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// check refuses options that contradict one another.
func (o bakeOptions) check() error {
	switch {
	case o.tag == "":
		return keyway.Errorf(keyway.Usage, "the new image needs a name").Hint("for example: keyway bake pytorch --tag team/pytorch:ssh")
	case !isReference(o.tag) || strings.Contains(o.tag, "@"):
		return keyway.Errorf(keyway.Usage, "%.100q cannot be the name of a new image", o.tag).Hint("for example: --tag team/pytorch:ssh")
	case o.push && o.file != "":
		return keyway.Errorf(keyway.Usage, "--push and --output exclude each other").Hint("run the command once for each: the results are the same")
	case o.push && o.atPlace:
		return keyway.Errorf(keyway.Usage, "--push takes the image from its registry, --on and --engine from a place").
			Hint("leave one out; what a place has is pushed from there: docker push %s", plain.Shell(o.tag))
	case len(o.arches) > 0 && !o.push && (o.file == "" || o.atPlace):
		return keyway.Errorf(keyway.Usage, "--arch chooses among the builds that a registry has; a place has one build of its image").Hint("leave it out, or add --push")
	case len(o.arches) > 1 && o.file != "":
		return keyway.Errorf(keyway.Usage, "a file has the image of one architecture").Hint("run the command once for each")
	}
	if _, err := registry.Domain(o.tag); err != nil {
		return err
	}
	for _, arch := range o.arches {
		if !slices.Contains(guestArches, arch) {
			return keyway.Errorf(keyway.Usage, "there is no SSH server for %q", arch).Hint("there is one for %s", strings.Join(guestArches, " and "))
		}
	}
	return nil
}

func runBake(ctx context.Context, o bakeOptions, stdout, news io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	from, err := o.up.template.resolve(ctx, o.up)
	if err != nil {
		return err
	}
	from.tell(news)
	s := from.Spec
	if o.up.image != "" {
		s.Image = o.up.image
	}
	if o.up.engine != "" {
		s.Engine = o.up.engine
	}
	if s.Image == "" {
		return keyway.Errorf(keyway.Usage, "no image is named for the SSH server").Hint("name a template, or --image REF; see them: keyway templates")
	}
	if !isReference(s.Image) {
		return keyway.Errorf(keyway.Usage, "%.100q cannot be an image", s.Image).Hint("for example: --image %s", keyway.DefaultImage)
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	done, err := o.bake(ctx, a, from, s, news)
	a.ui.end()
	if err != nil {
		return err
	}
	if o.up.json {
		return printJSON(stdout, done)
	}
	return tellBaked(stdout, done)
}

// bake makes the image at the destination that the options name.
func (o bakeOptions) bake(ctx context.Context, a *app, from asked, s keyway.Spec, news io.Writer) (images.Baked, error) {
	b := images.Bake{Base: s.Image, Tag: o.tag, Guest: bakedGuest, Replace: a.replaces(ctx, news, o.replace)}
	switch {
	case o.push:
		arches := o.arches
		if len(arches) == 0 {
			arches = guestArches
		}
		return b.Push(ctx, arches, a.UI.Progress)
	case o.file != "" && !o.atPlace:
		return b.SaveFetched(ctx, append(o.arches, runtime.GOARCH)[0], o.file, a.UI.Progress)
	}
	place, err := keyway.ParsePlace(o.up.place)
	if err != nil {
		return images.Baked{}, err
	}
	there, err := a.NodeWithEngine(ctx, place, s.Engine)
	if err != nil {
		return images.Baked{}, err
	}
	base := placeImage{app: a, there: there, place: place, image: s.Image, named: s.Image, opens: o.up.opens(from, s)}
	if err := base.get(ctx); err != nil {
		return images.Baked{}, err
	}
	if _, err := there.ImageLayers(ctx, s.Engine, s.Image); keyway.Is(err, keyway.ImageNotFound) {
		if err := there.PullImage(ctx, s.Engine, keyway.Pull{Image: s.Image}, a.Heard(place)); err != nil {
			return images.Baked{}, base.advise(ctx, err)
		}
	}
	at := images.EngineAt{Node: there, Place: place, Engine: s.Engine}
	if o.file != "" {
		return b.Save(ctx, at, o.file, a.UI.Progress)
	}
	return b.At(ctx, at, a.UI.Progress)
}

func tellBaked(stdout io.Writer, done images.Baked) error {
	where := string(done.Place)
	switch {
	case done.File != "":
		where = done.File
	case done.Pushed != "":
		where = "the registry"
	}
	_, err := plain.Fprintf(stdout, "%s has %s: %s with the guest in it, for linux/%s\n", where, done.Image, done.Base, strings.Join(done.Arch, " and linux/"))
	if err == nil && done.Pushed != "" {
		_, err = plain.Fprintf(stdout, "its digest: %s\n", done.Pushed)
	}
	return err
}

// bakedGuest returns the guest for an architecture, taken from the node that this keyway carries.
// A plain build is itself a guest for its own architecture.
func bakedGuest(arch string) (bake.Guest, error) {
	program, ok, err := assets.GuestOf(arch)
	if err != nil {
		return bake.Guest{}, err
	}
	if !ok {
		self, err := os.Executable()
		if err == nil && plainNode(self) != "" && arch == runtime.GOARCH {
			program, err = os.ReadFile(self)
		}
		if err != nil {
			return bake.Guest{}, err
		}
	}
	if len(bytes.TrimSpace(program)) == 0 {
		return bake.Guest{}, keyway.Errorf(keyway.VersionMismatch, "this keyway carries no guest for linux/%s", plain.Line(arch)).
			Hint("use a release of keyway, which has those for %s", strings.Join(guestArches, " and "))
	}
	return bake.NewGuest(arch, program)
}
