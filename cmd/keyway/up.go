package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"keyway/internal/images"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/template"
)

type upOptions struct {
	place, name, image, engine, gpus string
	user, workdir                    string
	mounts, env, keys                []string
	readOnly, mux, json, wait        bool
	byLock                           bool // --pinned
	forward                          forwardOption
	privileges                       privilegeOptions
	limits                           limitOptions
	template                         templateOptions
	command                          []string
}

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [TEMPLATE] [--on PLACE] [--image REF] [--name NAME] [--gpus all|N|UUID,…] [-- COMMAND…]",
		Short: "Make a workspace and start it",
		Long: `Make a workspace at a place and start it; "ssh NAME" then enters it.

The place needs an sshd and, for containers, Docker or Podman that its user may use.
keyway copies a small program into the user's cache directory there, and a small SSH
server into the container. No port is published, and no image is rebuilt.
Without --engine, keyway uses the first that can be used of ` + strings.Join(keyway.EngineNames(), ", ") + `, and
prints which and why. With ` + keyway.EngineWith(false) + `, the workspace is plain processes.

TEMPLATE is a service of a Compose file: of the nearest keyway.yaml or compose.yaml
above, one of yours, one of the place's own, or one that is built in (keyway
templates). Without TEMPLATE and --image it is the only service of the nearest
keyway.yaml, if there is one. Options override the template. A repository's template gets
your agent forwarded only if you answer yes or give --forward-agent.

COMMAND runs beside the SSH server. The workspace ends when COMMAND ends.` +
			exitCodes(append(placeKinds, keyway.Drifted, keyway.NoKey, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden,
				keyway.ImageNotFound, keyway.NameTaken, keyway.Untrusted, keyway.NoGPU, keyway.NotAllowed, keyway.GuestFailed, keyway.BadConfig, keyway.NeedsAnswer)...),
		Example: `  keyway up pytorch --on gpu1 --gpus 2
  keyway up --on gpu1 --image my/image:1 --name train --gpus all
  keyway up --on gpu1 --image my/image --shm-size 16gb -v /data:/data:ro
  keyway up --on gpu1 --gpus 2 --wait   as soon as two GPUs are free
  keyway up --name here                 on this machine`,
		ValidArgsFunction: completeTemplates,
		PreRunE:           refuseEmpty,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.ArgsLenAtDash()
			if at < 0 {
				at = len(args)
			}
			if at > 1 {
				return keyway.Errorf(keyway.Usage, "keyway up takes one template; leave %q out", args[1]).
					Hint("a command comes after two dashes: keyway up %s -- COMMAND", args[0])
			}
			o.template.names, o.command = args[:at], args[at:]
			var err error
			if o.mux, err = muxWanted(cmd, o.mux); err != nil {
				return err
			}
			return runUp(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.place, "on", string(keyway.Local), "make it at `PLACE`: a host of your ~/.ssh/config, or local")
	f.StringVar(&o.name, "name", "", "call the workspace, and its ssh host, `NAME` (default: the template's, else made from the image's)")
	f.StringVar(&o.image, "image", "", "make a container from the image `REF` (default "+keyway.DefaultImage+")")
	f.StringVar(&o.engine, "engine", "", "run it with `ENGINE`: "+keyway.EngineChoice()+" (default: the first that can be used)")
	f.StringVar(&o.gpus, "gpus", "", "give it `GPUS` that nobody else gets: all, a number, device=0,3, or UUIDs separated by commas\n(see them: keyway gpus)")
	f.BoolVar(&o.byLock, "pinned", false, "make it as keyway.lock says (keyway pin), and report differences")
	f.BoolVar(&o.wait, "wait", false, "wait in a queue for the GPUs if they are not free, as long as this command runs")
	o.limits.declare(cmd)
	o.template.declare(cmd)
	f.StringArrayVarP(&o.mounts, "volume", "v", nil, "mount a directory of the place, or a volume by its name, as `SOURCE:TARGET`, or SOURCE:TARGET:ro to read only; may be repeated")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set an environment variable, as `NAME=VALUE`, or NAME for the value it has here; may be repeated")
	f.StringArrayVar(&o.keys, "key", nil, "let the public `KEY` enter: its file, or its fingerprint or comment in the agent; may be repeated\n(default: those that your ssh has for the place, else all that the agent holds)")
	f.StringVar(&o.user, "user", "", "run as `USER` or uid[:gid] inside (default: the image's own)")
	f.StringVar(&o.workdir, "workdir", "", "start in `DIR` (default: the image's own)")
	f.BoolVar(&o.readOnly, "read-only", false, "make the root file system read-only")
	o.privileges.declare(cmd)
	o.forward.declare(cmd)
	f.BoolVar(&o.mux, "mux", false, "let ssh share a connection that is kept open, as keyway mux on does\n(default: what mux in config.yaml says)")
	f.BoolVar(&o.json, "json", false, "print the workspace as JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(keyway.EngineNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// resolve returns the template that was named, and the Spec and the place that result from it and
// the options. It prints the template's additions to news.
func (o upOptions) resolve(ctx context.Context, news io.Writer) (asked, keyway.Spec, keyway.Place, error) {
	from, err := o.template.resolve(ctx, o)
	if err != nil {
		return asked{}, keyway.Spec{}, "", err
	}
	s, place, err := o.spec(from.Spec)
	if err == nil {
		from.tell(news)
		if from.Spec.ShmSize != 0 && s.ShmSize == 0 {
			plain.Fprintf(news, "  not taken over: shm_size (an option brings another %s)\n", keyway.ShmDir)
		}
	}
	return from, s, place, err
}

func runUp(ctx context.Context, o upOptions, stdout, news io.Writer) error {
	asked, s, place, err := o.resolve(ctx, news)
	if err != nil {
		return err
	}
	if s.ForwardAgent, err = o.forwards(ctx, asked, news); err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	if asked.Setup != "" { // the setup runs by ssh
		if err := a.RequireInclude(); err != nil {
			return err
		}
	}
	known, keys, err := a.entrance(ctx, place, s.Name, o.keys)
	if err != nil {
		return err
	}
	for _, k := range keys.Keys {
		s.AuthorizedKeys = append(s.AuthorizedKeys, k.Line())
	}
	there, err := a.NodeWithEngine(ctx, place, s.Engine)
	if err != nil {
		return err
	}
	if err := asked.fits(ctx, there, place); err != nil {
		return err
	}
	a.ui.end()
	named := s.Image
	var pinned *pinnedUp
	if o.byLock {
		if pinned, s, err = o.pinned(ctx, a, there, place, asked, s); err != nil {
			return err
		}
	}
	tellKeys(news, keys)
	image := placeImage{app: a, there: there, place: place, image: s.Image, named: named, opens: o.opens(asked, s)}
	made, err := image.create(ctx, s)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if err := a.Pin(ctx, known, laptop.Made{Place: place, Asked: s, Got: made, Named: o.named(), Keys: keys}); err != nil {
		return a.Undo(ctx, there, place, s.Name, err)
	}
	made.Place = place
	if o.mux {
		a.switchMux(ctx, made.Name, news)
	}
	if err := asked.setUp(ctx, place, made.Name, news); err != nil {
		return err
	}
	if err := pinned.verify(ctx, there, place, made.Name, news); err != nil {
		return err
	}
	if o.json {
		return printJSON(stdout, made)
	}
	plain.Fprintf(stdout, "%s is up at %s (%s): ssh %s\n", made.Name, place, made.Engine, made.Name)
	a.adviseInit(news)
	return nil
}

// opens returns the image that the place may pull with this laptop's login: one that was named on
// this laptop. A template of the place could name any image that the user may read. Podman gets
// the login itself, for an image that was named here.
func (o upOptions) opens(a asked, s keyway.Spec) images.Want {
	if a.from.Source != template.Place {
		return images.Want{Image: s.Image, Engine: s.Engine, Whole: s.Engine == keyway.EnginePodman}
	}
	if o.image == "" {
		return images.Want{}
	}
	return images.Want{Image: s.Image, Engine: s.Engine, Whole: o.engine == keyway.EnginePodman}
}

// tellKeys prints which keys may enter.
func tellKeys(news io.Writer, e laptop.KeySet) {
	fmt.Fprintf(news, "keys that may enter (%s):\n", e.Why)
	for _, k := range e.Keys {
		fmt.Fprintf(news, "  %s %s\n", ssh.FingerprintSHA256(k), plain.Line(k.Comment))
	}
}

// named returns the keys of --key as later commands find them from any directory.
func (o upOptions) named() []string {
	var names []string
	for _, k := range o.keys {
		if _, err := laptop.ReadPublicKey(k); err == nil {
			if path, err := filepath.Abs(k); err == nil {
				k = path
			}
		}
		names = append(names, k)
	}
	return names
}

// spec returns the request to the node, without the keys: the template's Spec, changed by the
// options.
func (o upOptions) spec(s keyway.Spec) (keyway.Spec, keyway.Place, error) {
	place, err := keyway.ParsePlace(o.place)
	if err != nil {
		return s, "", err
	}
	s.Engine, s.Image, s.Workdir = cmp.Or(o.engine, s.Engine), cmp.Or(o.image, s.Image), cmp.Or(o.workdir, s.Workdir)
	s.ReadOnly = s.ReadOnly || o.readOnly
	if len(o.command) > 0 {
		s.Command = o.command
	}
	if o.user != "" {
		s.User, s.Caller = o.user, false
	}
	if s.Name, err = parseName(cmp.Or(o.name, nameOf(s)), o.name != ""); err == nil {
		err = keyway.CheckUser(s.User)
	}
	if err != nil {
		return s, "", err
	}
	if o.gpus != "" {
		if s.GPUs, err = keyway.ParseGPUs(o.gpus); err != nil {
			return s, "", err
		}
	}
	if s.GPUs.Wait = o.wait; o.wait && s.GPUs.None() {
		return s, "", keyway.Errorf(keyway.Usage, "--wait is for GPUs, and none are asked for").Advise(keyway.WaitWithGPUs)
	}
	if err := o.twice(); err != nil {
		return s, "", err
	}
	if o.bringsShm() {
		s.ShmSize = 0 // the template's; one that was requested besides is refused
	}
	for _, add := range []func(*keyway.Spec) error{o.privileges.add, o.limits.add, o.template.add, o.addMounts, o.addEnv} {
		if err := add(&s); err != nil {
			return s, "", err
		}
	}
	return s, place, keyway.CheckTexts(s)
}

// bringsShm reports whether an option replaces the shared memory of the workspace.
func (o upOptions) bringsShm() bool {
	var given keyway.Spec
	return o.privileges.ipc == keyway.IPCHost || o.addMounts(&given) == nil && given.Mounted(keyway.ShmDir) ||
		slices.ContainsFunc(o.template.tmpfs, func(text string) bool { m, _ := parseTmpfs(text); return m.Target == keyway.ShmDir })
}

func (o upOptions) addMounts(s *keyway.Spec) error {
	for _, v := range o.mounts {
		m, err := keyway.ParseMount(v)
		if err != nil {
			return err
		}
		mountOver(s, m)
	}
	return nil
}

func (o upOptions) addEnv(s *keyway.Spec) error {
	env, err := parseEnv(o.env)
	if err != nil || len(env) == 0 {
		return err
	}
	all := maps.Clone(s.Env)
	if all == nil {
		all = env
	}
	maps.Copy(all, env)
	s.Env = all
	s.Unset = slices.DeleteFunc(slices.Clone(s.Unset), func(name string) bool { _, set := env[name]; return set })
	return nil
}

// nameOf returns a name for a workspace that was not given one.
func nameOf(s keyway.Spec) string {
	if s.Template != "" {
		return nameOfImage(s.Template)
	}
	return nameOfImage(s.Image)
}

// nameOfImage returns the last word of an image's path: pytorch for
// registry.example/pytorch/pytorch:2.8.0.
func nameOfImage(image string) string {
	if image == "" {
		return "here"
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name = name[:i]
	}
	// A workspace's name has no dots; see sshconfig.CheckName.
	return strings.ReplaceAll(strings.ToLower(name), ".", "-")
}
