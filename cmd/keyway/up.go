package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

type upOptions struct {
	place, name, image, engine, gpus, shm string
	user, workdir                         string
	mounts, env                           []string
	readOnly, forwardAgent, json          bool
	command                               []string
}

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [--on PLACE] [--image REF] [--name NAME] [--gpus all|N|UUID,…] [-- COMMAND…]",
		Short: "Make a workspace and start it",
		Long: `Make a workspace at a place and start it; then "ssh NAME" leads into it.

The place needs an sshd and, for containers, Docker or Podman that its user may
use. keyway brings the rest: a small program into the user's cache directory there,
and a small SSH server into the container. No port is published, no image rebuilt.
Without --engine it takes docker if it can be used, else podman, else plain
processes (host), and says which and why.

COMMAND runs beside the SSH server; the workspace ends when it ends.` +
			exitCodes(append(placeKinds, keyway.NoKey, keyway.EngineAbsent, keyway.EngineDown, keyway.EngineForbidden,
				keyway.ImageNotFound, keyway.NameTaken, keyway.NoSpace, keyway.NoGPU, keyway.GuestFailed, keyway.BadConfig)...),
		Example: `  keyway up --on gpu1 --image pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel --name train --gpus all
  keyway up --on gpu1 --image my/image --name train --gpus 2 --shm-size 16gb -v /data:/mnt/data:ro
  keyway up --name here                        on this machine`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); at > 0 || at < 0 && len(args) > 0 {
				return keyway.Errorf(keyway.Usage, "there is no template %q", args[0]).
					Hint("name an image: keyway up --image %s", args[0])
			}
			o.command = args
			return runUp(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.place, "on", string(keyway.Local), "`place`: a host of your ~/.ssh/config, or local")
	f.StringVar(&o.name, "name", "", "`name` of the workspace and of its ssh host (default: made from the image's)")
	f.StringVar(&o.image, "image", "", "`image` to make a container from (default "+keyway.DefaultImage+")")
	f.StringVar(&o.engine, "engine", "", "what runs it: docker, podman or host (`engine`; default: the first that can be used)")
	f.StringVar(&o.gpus, "gpus", "", "`gpus`: all, a number, device=0,3, or UUIDs separated by commas")
	f.StringVar(&o.shm, "shm-size", "", "`size` of /dev/shm, such as 16gb")
	f.StringArrayVarP(&o.mounts, "volume", "v", nil, "show a directory of the place inside: `SOURCE:TARGET[:ro]`; may be repeated")
	f.StringArrayVarP(&o.env, "env", "e", nil, "environment variable `NAME=VALUE`; may be repeated")
	f.StringVar(&o.user, "user", "", "`user` or uid[:gid] inside (default: the image's own)")
	f.StringVar(&o.workdir, "workdir", "", "`directory` to start in (default: the image's own)")
	f.BoolVar(&o.readOnly, "read-only", false, "make the root file system read-only")
	f.BoolVar(&o.forwardAgent, "forward-agent", false, "let every connection carry your agent into it (ssh -A does it for one)")
	f.BoolVar(&o.json, "json", false, "print the workspace as JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]cobra.Completion{"docker", "podman", "host"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runUp(ctx context.Context, o upOptions, stdout io.Writer) error {
	s, place, err := o.spec()
	if err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	if err := a.freeName(ctx, s.Name, place); err != nil {
		return err
	}
	if s.AuthorizedKeys, err = a.publicKeys(ctx); err != nil {
		return err
	}
	there, err := a.node(ctx, place)
	if err != nil {
		return err
	}
	made, err := there.Create(ctx, s, a.ui.Progress)
	a.ui.end()
	if ctx.Err() != nil {
		return a.settle(there, s.Name)
	}
	if err != nil {
		return o.bring(err, place)
	}
	made.Place = place
	if err := a.remember(made, true); err != nil {
		return err
	}
	if o.json {
		return plain.JSON(stdout, made)
	}
	plain.Fprintf(stdout, "%s is up at %s (%s): ssh %s\n", made.Name, place, made.Engine, made.Name)
	a.adviseInit(os.Stderr)
	return nil
}

// bring is err with how an image that the place cannot pull is brought there, which
// only this laptop can say.
func (o upOptions) bring(err error, place keyway.Place) error {
	if place == keyway.Local || o.image == "" || !keyway.Is(err, keyway.ImageNotFound) {
		return err
	}
	load := cmp.Or(o.engine, "docker")
	return keyway.Errorf(keyway.ImageNotFound, "%s has no image %s, and cannot pull it: %w", place, o.image, err).
		Hint("if you have it here: docker save %s | ssh %s %s load", plain.Shell(o.image), plain.Shell(string(place)), plain.Shell(load))
}

// settleTimeout is how long an interrupted up waits to see that nothing is left.
const settleTimeout = 30 * time.Second

// settle waits until an interrupted Create has cleaned up at the place.
func (a *app) settle(there *api.Client, name keyway.Name) error {
	a.ui.Progress(keyway.Progress{Message: "interrupted: removing what was begun"})
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	defer a.ui.end()
	if err := there.Settle(ctx, name); err != nil {
		return keyway.Errorf(keyway.Interrupted, "interrupted; whether anything of %s is left is not known: %w", name, err).
			Hint("see: keyway ls")
	}
	return keyway.Errorf(keyway.Interrupted, "interrupted; nothing of %s is left", name)
}

// spec turns the options into what is asked of the node, less the keys.
func (o upOptions) spec() (keyway.Spec, keyway.Place, error) {
	s := keyway.Spec{
		Engine: o.engine, Image: o.image, User: o.user, Workdir: o.workdir,
		ReadOnly: o.readOnly, ForwardAgent: o.forwardAgent, Command: o.command,
	}
	place, err := keyway.ParsePlace(o.place)
	if err != nil {
		return s, "", err
	}
	if o.name == "" {
		o.name = nameOfImage(s.Image)
	}
	if s.Name, err = keyway.ParseName(o.name); err != nil {
		return s, "", err
	}
	if s.GPUs, err = keyway.ParseGPUs(o.gpus); err != nil {
		return s, "", err
	}
	if o.shm != "" {
		if s.ShmSize, err = units.RAMInBytes(o.shm); err != nil || s.ShmSize <= 0 {
			return s, "", keyway.Errorf(keyway.Usage, "--shm-size %s is not a size", o.shm).Hint("for example: --shm-size 16gb")
		}
	}
	for _, v := range o.mounts {
		m, err := keyway.ParseMount(v)
		if err != nil {
			return s, "", err
		}
		s.Mounts = append(s.Mounts, m)
	}
	for _, e := range o.env {
		k, v, ok := strings.Cut(e, "=")
		if !ok || k == "" {
			return s, "", keyway.Errorf(keyway.Usage, "%q is not NAME=VALUE", e).Hint("for example: -e HF_HOME=/mnt/data/hf")
		}
		if s.Env == nil {
			s.Env = map[string]string{}
		}
		s.Env[k] = v
	}
	return s, place, nil
}

// nameOfImage is the last word of an image's path: pytorch of
// registry.example/pytorch/pytorch:2.8.0.
func nameOfImage(image string) string {
	if image == "" {
		return "here"
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name = name[:i]
	}
	return strings.ToLower(name)
}

// freeName refuses a name that this laptop's ssh knows as something else.
func (a *app) freeName(ctx context.Context, name keyway.Name, place keyway.Place) error {
	e, err := a.hosts.Lookup(string(name))
	switch {
	case err == nil && e.Place == place: // the node knows better what it has
		return nil
	case err == nil:
		return keyway.Errorf(keyway.NameTaken, "there is a workspace %s already, at %s", name, e.Place).
			Hint("choose another name: --name %s-2\nor remove that one: keyway rm %s", name, name)
	}
	// What else may be wrong with the user's ssh, reaching the place will tell.
	if err := sshconfig.CheckFree(ctx, name); keyway.Is(err, keyway.NameTaken) {
		return err
	}
	return nil
}

// remember lets ssh know the workspace. One that was made just now may have
// another host key than a predecessor of its name.
func (a *app) remember(w keyway.Workspace, new bool) error {
	err := a.hosts.AddPlace(w.Place)
	if err == nil {
		err = a.hosts.Add(sshconfig.Entry{
			Name: w.Name, Place: w.Place, Engine: w.Engine, User: w.Guest.User,
			HostKey: w.Guest.HostKey, ForwardAgent: w.ForwardAgent, Created: w.Created, New: new,
		})
	}
	return err
}

// publicKeys are the keys that the agent holds: whoever can use one of them may
// enter the workspace.
func (a *app) publicKeys(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "ssh-add", "-L")
	cmd.Env = a.environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return nil, keyway.Errorf(keyway.NoKey, "there is no ssh agent: %s", strings.TrimSpace(stderr.String())).
			Hint("start one and unlock your key: keyway unlock")
	}
	if err != nil && !errors.As(err, &exit) {
		return nil, keyway.Errorf(keyway.NoKey, "the agent cannot be asked: %w", err).
			Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	var keys []string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		kind, _, _ := strings.Cut(lines.Text(), " ")
		// A certificate's key is listed beside it.
		if strings.Contains(kind, "-cert-v01@") || !(strings.HasPrefix(kind, "ssh-") || strings.HasPrefix(kind, "ecdsa-") || strings.HasPrefix(kind, "sk-")) {
			continue
		}
		keys = append(keys, lines.Text())
	}
	if len(keys) == 0 {
		return nil, keyway.Errorf(keyway.NoKey, "the ssh agent holds no key").Hint("unlock yours: keyway unlock")
	}
	return keys, nil
}
