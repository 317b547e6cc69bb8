package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/pin"
	"keyway/internal/plain"
	"keyway/internal/registry"
	"keyway/internal/template"
)

type pinOptions struct {
	names []string // at most one template
	on    []string
	from  string
	json  bool
	only  keyway.Name // the workspace that from names, at the only place in on; empty: any
}

func newPinCommand() *cobra.Command {
	var o pinOptions
	cmd := &cobra.Command{
		Use:   "pin [TEMPLATE] [--on PLACE] [--from WORKSPACE]",
		Short: "Write keyway.lock: the exact environment that a template resolved to",
		Long: `Write keyway.lock beside the template's file: the image by its digest, PyTorch, CUDA,
cuDNN and NCCL, the packages of pip and of the system, files of the image that were
changed, variables and the command (their hashes, not their values), mounts, shared memory,
user, limits, capabilities, network and whatever else was asked for, kernel, driver, GPUs,
and the guest's version.

The command inspects the workspace that runs from that template, at the places where this
laptop knows one, or at PLACE. It starts nothing of the workspace. If none runs, it asks the
registry, which knows only the image. Each architecture has its own pin.

"keyway up --pinned" makes the same environment elsewhere, and "keyway drift" reports the
differences. Commit keyway.lock to your repository.` +
			exitCodes(append(placeKinds, keyway.EngineDown, keyway.EngineForbidden, keyway.NotFound, keyway.NotRunning, keyway.Drifted, keyway.ImageNotFound, keyway.BadConfig)...),
		Example:           "  keyway pin\n  keyway pin pytorch --on gpu1\n  keyway pin train --from train-2",
		Args:              takes(0, 1, "at most one template"),
		ValidArgsFunction: completeTemplates,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			return runPin(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.on, "on", nil, "look at `PLACE` only; may be repeated")
	f.StringVar(&o.from, "from", "", "pin the environment of the workspace `NAME` or PLACE/NAME")
	f.BoolVar(&o.json, "json", false, "print the pin as JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("from", completeWorkspaces)
	return cmd
}

// pinnable is a template with the path of its lock.
type pinnable struct {
	asked
	lock string          // a path
	by   templateOptions // how it was named; for at
}

// findPinnable returns the template that was given to a command about locks, or the nearest one. If
// this laptop has none of that name, it asks the places that on names, or those where this laptop
// knows a workspace.
func (a *app) findPinnable(ctx context.Context, command string, names, on []string) (pinnable, error) {
	by := templateOptions{names: names, command: command}
	anywhere := by
	anywhere.elsewhere = func(name string) ([]template.Template, string, error) { return a.firstPublished(ctx, name, on) }
	from, err := anywhere.resolve(ctx, upOptions{place: string(keyway.Local)})
	if err != nil {
		return pinnable{}, err
	}
	if from.from.Name == "" {
		return pinnable{}, keyway.Errorf(keyway.Usage, "there is no keyway.yaml here with one template in it, and none was named").
			Hint("name one, for example: keyway %s pytorch\nsee which there are: keyway templates", command)
	}
	return pinnable{from, lockFile(from), by}, nil
}

// firstPublished returns the templates of the first place that publishes one of that name, and that
// place. If none does, it returns those of all places, and the error is that of a place that could
// not be asked.
func (a *app) firstPublished(ctx context.Context, name string, on []string) (_ []template.Template, place string, err error) {
	machines, err := a.Machines(ctx, on, false)
	if err != nil {
		return nil, "", err
	}
	all, failed := make([][]template.Template, len(machines)), make([]error, len(machines))
	var asked sync.WaitGroup
	for i, m := range machines {
		if m.Place() != keyway.Local { // findPinnable has asked this machine
			asked.Go(func() { all[i], failed[i] = a.published(ctx, m.Place()) })
		}
	}
	asked.Wait()
	a.ui.end()
	for i, m := range machines {
		if slices.ContainsFunc(all[i], func(t template.Template) bool { return t.Name == name }) {
			return all[i], string(m.Place()), nil
		}
	}
	return slices.Concat(all...), "", cmp.Or(failed...)
}

// at returns the template as keyway up resolves it at a place, whose own comes before one that is
// built in or that another place publishes.
func (t pinnable) at(ctx context.Context, place keyway.Place) (pinnable, error) {
	if t.from.Dir() != "" || t.place == string(place) {
		return t, nil
	}
	there, err := t.by.resolve(ctx, upOptions{place: string(place)})
	if keyway.Is(err, keyway.Usage) { // the place has none, and gave a workspace that was made of another
		return t, nil
	}
	if err == nil {
		t.asked = there
	}
	return t, err
}

// resolvedAt is a template as a place has it.
type resolvedAt struct {
	pinnable
	err error
}

// atAll returns the template as each of the places has it. It asks all at once.
func (t pinnable) atAll(ctx context.Context, places []keyway.Place) []resolvedAt {
	all := make([]resolvedAt, len(places))
	var asked sync.WaitGroup
	for i, place := range places {
		asked.Go(func() { all[i].pinnable, all[i].err = t.at(ctx, place) })
	}
	asked.Wait()
	return all
}

// lockFile returns the path of a template's lock: beside the template's file, or in the working
// directory for a template without a file on this laptop.
func lockFile(a asked) string {
	if dir := a.from.Dir(); dir != "" {
		return filepath.Join(dir, pin.FileName)
	}
	dir, err := os.Getwd()
	if err != nil {
		return pin.FileName
	}
	return filepath.Join(dir, pin.FileName)
}

// workspaceOf is a workspace that was made from a template, with its place.
type workspaceOf struct {
	place keyway.Place
	keyway.Environment
}

// where returns PLACE/NAME.
func (w workspaceOf) where() string { return string(w.place) + "/" + string(w.Name) }

// surveyed holds what survey found of a template's workspaces.
type surveyed struct {
	found           []workspaceOf
	answered        []keyway.Place
	failed, stopped []*keyway.Error // of places that cannot be asked; of workspaces that do not run
}

// survey examines all workspaces of a template: on the machines that on names, or on those where
// this laptop knows one.
func (a *app) survey(ctx context.Context, template string, on []string) (surveyed, error) {
	var s surveyed
	machines, err := a.Machines(ctx, on, false)
	if err != nil {
		return s, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range machines {
		all.Go(func() {
			envs, rest, problems, err := a.OfTemplate(ctx, m, template)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.failed = append(s.failed, keyway.AsError(err))
			} else {
				s.answered = append(s.answered, m.Place())
			}
			s.failed = append(s.failed, problems...)
			for _, w := range rest {
				s.stopped = append(s.stopped, notLookedInto(m.Place().Of(w.Name), w.State))
			}
			for _, e := range envs {
				if e.Error != nil {
					s.failed = append(s.failed, e.Error)
					continue
				}
				s.found = append(s.found, workspaceOf{m.Place(), e})
			}
		})
	}
	all.Wait()
	a.ui.end()
	slices.SortFunc(s.found, func(x, y workspaceOf) int { return cmp.Compare(x.where(), y.where()) })
	sortErrors(s.failed)
	sortErrors(s.stopped)
	return s, ctx.Err()
}

// sortErrors sorts errors by their places, since places answer in any order.
func sortErrors(all []*keyway.Error) {
	slices.SortFunc(all, func(x, y *keyway.Error) int {
		return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Message, y.Message), cmp.Compare(x.Kind, y.Kind))
	})
}

// notLookedInto returns the error for a workspace whose environment is not known.
func notLookedInto(where string, state keyway.State) *keyway.Error {
	switch state {
	case keyway.Stopped:
		return keyway.Errorf(keyway.NotRunning, "%s does not run, and was not inspected", where).Hint("start it: keyway start %s", plain.Shell(where))
	case keyway.Running:
		return keyway.Errorf(keyway.NotRunning, "%s was not inspected: its place has too many workspaces, and keyway inspects at most %d", where, keyway.MaxEnvironments).
			Hint("remove some: keyway rm --help")
	case keyway.Broken:
		return keyway.Errorf(keyway.NotRunning, "%s was not inspected: it is broken", where).Hint("see why: keyway ls")
	default:
		return keyway.Errorf(keyway.NotRunning, "%s was not inspected: it is not known whether it runs", where).Hint("see why: keyway ls")
	}
}

func runPin(ctx context.Context, o pinOptions, stdout, news io.Writer) error {
	a, err := newApp()
	if err == nil {
		o, err = a.settleFrom(o)
	}
	if err != nil {
		return err
	}
	t, err := a.findPinnable(ctx, "pin", o.names, o.on)
	if err != nil {
		return err
	}
	lock, err := pin.Read(t.lock)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p, from, err := a.pin(ctx, t, o, news)
	if err != nil {
		return err
	}
	if err := lock.With(p).Write(t.lock); err != nil {
		return err
	}
	if o.json {
		return printJSON(stdout, p)
	}
	plain.Fprintf(stdout, "%s pinned for %s, as %s: %s\n%s written; put it into the repository\n", p.Template, p.Arch, from, strings.Join(summary(p), ", "), t.lock)
	return nil
}

// summary returns a pin in a few words.
func summary(p pin.Pin) []string {
	var words []string
	for _, w := range []struct{ name, version string }{{"torch", p.Torch}, {"CUDA", p.CUDA}, {"cuDNN", p.CuDNN}, {"NCCL", p.NCCL}} {
		if w.version != "" {
			words = append(words, w.name+" "+w.version)
		}
	}
	if p.Seen {
		words = append(words, plain.Sprintf("%d packages of pip, %d of the system", len(p.Python), len(p.System)))
	}
	if len(p.Image.Digests) == 0 {
		return append(words, "an image without a digest, which no registry has")
	}
	return append(words, p.Image.Digests[0])
}

// settleFrom returns o with the place and the name of the workspace of --from.
func (a *app) settleFrom(o pinOptions) (pinOptions, error) {
	o.only = keyway.Name(o.from)
	if place, name, err := laptop.SplitWorkspace(o.from); err == nil {
		o.on, o.only = []string{string(place)}, name
	} else if o.from != "" && len(o.on) == 0 {
		e, err := a.Lookup(o.from)
		if err != nil {
			return o, err
		}
		o.on = []string{string(e.Place)}
	}
	return o, nil
}

// pin makes a pin from a running workspace, or otherwise from the registry's answer, and reports
// which.
func (a *app) pin(ctx context.Context, t pinnable, o pinOptions, news io.Writer) (pin.Pin, string, error) {
	s, err := a.survey(ctx, t.from.Name, o.on)
	if err != nil {
		return pin.Pin{}, "", err
	}
	for _, e := range s.stopped {
		plain.Fprintf(news, "%s\n", e.Message)
	}
	found, failed := s.found, s.failed
	if o.from != "" {
		found = slices.DeleteFunc(found, func(w workspaceOf) bool { return w.Name != o.only })
	}
	switch {
	case len(found) == 1:
		return a.pinWorkspace(ctx, t, found[0], news)
	case len(found) > 1:
		var names []string
		for _, w := range found {
			names = append(names, w.where())
		}
		return pin.Pin{}, "", keyway.Errorf(keyway.Usage, "several workspaces run from the template %s: %s", t.from.Name, strings.Join(names, ", ")).
			Hint("name one, for example: keyway pin %s --from %s", plain.Shell(t.from.Name), plain.Shell(names[0]))
	case len(failed) > 0: // the workspace may be among them
		return pin.Pin{}, "", failed[0]
	case o.from != "":
		return pin.Pin{}, "", keyway.Errorf(keyway.NotFound, "%s does not run from the template %s", o.from, t.from.Name).Hint("see what runs: keyway ls")
	}
	return a.pinImage(ctx, t, cmp.Or(slices.Concat(o.on, []string{t.publisher(), string(keyway.Local)})...))
}

// pinWorkspace pins the environment of a running workspace. It refuses properties that the
// template does not have, because the next workspace of the template would lack them.
func (a *app) pinWorkspace(ctx context.Context, t pinnable, w workspaceOf, news io.Writer) (pin.Pin, string, error) {
	t, err := t.at(ctx, w.place)
	if err != nil {
		return pin.Pin{}, "", err
	}
	p := pin.FromWorkspace(t.from.Name, t.Spec.Image, w.Environment)
	if other := p.CompareTemplate(w.where(), t.Spec); len(other) > 0 {
		return p, "", keyway.Errorf(keyway.Drifted, "%s was made with other options than the template's: %s", w.where(), strings.Join(fieldNames(other), ", ")).
			Hint("put them into %s, or make it again: %s", t.from.File, anew(w.place, w.Name, w.Engine, t.from.Name))
	}
	if facts, err := registry.Look(ctx, p.Image.Reference, p.Arch); err != nil {
		if ctx.Err() != nil {
			return p, "", ctx.Err()
		}
		plain.Fprintf(news, "the registry was not asked for the image's digest: %v\n", err)
	} else if here := facts.Identity(); here.Same(p.Image) {
		// The digest of the reference comes first: every place pulls by that.
		p.Image.Digests = keyway.Distinct(append(here.Digests, p.Image.Digests...)...)
	} else {
		plain.Fprintf(news, "%s names another image by now than that of %s\n", p.Image.Reference, w.where())
	}
	return p, w.where(), nil
}

// pinImage pins the registry's answer about the image, for the place's architecture.
func (a *app) pinImage(ctx context.Context, t pinnable, on string) (pin.Pin, string, error) {
	place, err := keyway.ParsePlace(on)
	if err == nil {
		t, err = t.at(ctx, place)
	}
	if err != nil {
		return pin.Pin{}, "", err
	}
	node, err := a.NodeWithEngine(ctx, place, t.Spec.Engine)
	if err != nil {
		return pin.Pin{}, "", err
	}
	facts, err := node.Facts(ctx, t.Spec)
	a.ui.end()
	if err != nil {
		return pin.Pin{}, "", err
	}
	image := facts.Engine.Image
	from := "the image at " + string(place)
	if said, err := registry.Look(ctx, t.Spec.Image, facts.Arch); err == nil {
		image, from = said, "the registry says"
	} else if !image.Present {
		return pin.Pin{}, "", err
	}
	if len(image.Arch) > 0 && !slices.Contains(image.Arch, facts.Arch) {
		return pin.Pin{}, "", keyway.Errorf(keyway.ImageNotFound, "%s has no build for %s, which %s is", t.Spec.Image, facts.Arch, place).
			Hint("take an image that is built for linux/%s", facts.Arch)
	}
	return pin.FromImage(t.from.Name, facts.Arch, t.Spec, image), from, nil
}

// fieldNames returns the fields of differences, with the parts that differ.
func fieldNames(all []pin.Difference) []string {
	var names []string
	for _, d := range all {
		if name := strings.TrimSpace(d.Field + " " + d.Name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
