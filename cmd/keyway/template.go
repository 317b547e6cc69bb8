package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/compat"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/template"
	"keyway/internal/template/compose"
	"keyway/internal/template/devcontainer"
)

// templateOptions holds up's template, and the options for what templates can set.
type templateOptions struct {
	command                         string   // the command to which they were given; empty: up
	names                           []string // at most one
	tmpfs, devices, secrets, labels []string
	asMe                            bool
	home                            string

	// elsewhere returns the templates of other places, for a name that neither this laptop nor up's
	// place has, and the first place that publishes one of that name. nil: there are none. An error
	// means that no place has it and one could not be asked.
	elsewhere func(name string) (all []template.Template, place string, err error)
}

func (o *templateOptions) declare(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.tmpfs, "tmpfs", nil, "mount a file system in memory at `TARGET`, or TARGET:size=SIZE; may be repeated")
	f.StringArrayVar(&o.devices, "device", nil, "give it a `DEVICE` file of the place, such as /dev/fuse; may be repeated")
	f.StringArrayVar(&o.secrets, "secret", nil, "put a file of this laptop where only the workspace's user reads it, as `NAME=FILE`:\n"+keyway.SecretsDir+"/NAME; may be repeated")
	f.StringArrayVar(&o.labels, "label", nil, "label it `NAME=VALUE`; may be repeated")
	f.BoolVar(&o.asMe, "as-me", false, "run with your own uid and gid at the place, so that files on mounts are yours (templates do)")
	f.StringVar(&o.home, "home-volume", "", "keep the home directory in the volume `NAME`, which outlives the workspace")
}

// asked is a resolved template.
type asked struct {
	compose.Asked
	from  template.Template // zero: no template
	place string            // that it was resolved for
}

// publisher returns the place that publishes the template, or "" for one of this laptop's.
func (a asked) publisher() string {
	if a.from.Published == nil {
		return ""
	}
	return a.place
}

// finder returns a finder of templates that starts in the working directory.
func finder() (template.Finder, error) {
	config, err := dirs.Config()
	if err != nil {
		return template.Finder{}, err
	}
	dir, _ := os.Getwd()
	home, _ := os.UserHomeDir()
	return template.Finder{Dir: dir, Mine: filepath.Join(config, "templates"), Home: home}, nil
}

// resolve resolves up's template. Without a name and an image, that is the template of the
// nearest keyway.yaml.
func (o templateOptions) resolve(ctx context.Context, up upOptions) (asked, error) {
	f, err := finder()
	if err != nil {
		return asked{}, err
	}
	f.AskPlace = askPlace(ctx, up.place)
	var found template.Template
	switch {
	case len(o.names) > 0:
		found, err = f.Find(o.names[0])
		if o.elsewhere != nil && keyway.Is(err, keyway.Usage) {
			all, place, failed := o.elsewhere(o.names[0])
			up.place = cmp.Or(place, up.place)
			f.AskPlace = func() ([]template.Template, error) { return all, failed }
			found, err = f.Find(o.names[0])
		}
		if keyway.Is(err, keyway.Usage) {
			return asked{}, noTemplate(ctx, o.command, o.names[0], err)
		}
	case up.image != "":
		return asked{}, nil
	default:
		var ok bool
		if found, ok, err = f.Only(); err == nil && !ok {
			return asked{}, nil
		}
	}
	if err != nil {
		return asked{}, forCommand(o.command, err)
	}
	return resolveAt(found, up.place)
}

// askPlace returns a function that asks a place for its own templates. It does not ask this
// machine if that publishes none.
func askPlace(ctx context.Context, on string) func() ([]template.Template, error) {
	place, err := keyway.ParsePlace(on)
	if err != nil {
		return func() ([]template.Template, error) { return nil, err }
	}
	if _, err := os.Lstat(catalogue.Dir); place == keyway.Local && err != nil {
		return nil
	}
	return func() ([]template.Template, error) {
		a, err := newApp()
		if err != nil {
			return nil, err
		}
		defer a.ui.end()
		return a.published(ctx, place)
	}
}

// published returns a place's own templates.
func (a *app) published(ctx context.Context, place keyway.Place) ([]template.Template, error) {
	published, err := a.Templates(ctx, place)
	var all []template.Template
	for _, t := range published {
		all = append(all, template.FromPlace(place, t))
	}
	return all, err
}

// resolveAt resolves a template for a place.
func resolveAt(found template.Template, place string) (asked, error) {
	home, _ := os.UserHomeDir()
	a, err := found.Resolve(compose.Where{Local: place == string(keyway.Local), Home: home, Lookup: os.LookupEnv})
	a.Spec.Template = found.Name
	return asked{a, found, place}, err
}

// tell prints which template is used, and which values of this laptop it contains.
func (a asked) tell(news io.Writer) {
	if a.from.Name == "" {
		return
	}
	plain.Fprintf(news, "template %s (%s)\n", a.from.Name, a.from.File)
	for _, l := range a.from.Left {
		plain.Fprintf(news, "  not taken over, line %d: %s (%s)\n", l.Line, l.Setting, whyLeft(l))
	}
	if len(a.Variables) > 0 {
		plain.Fprintf(news, "variables of this laptop that went into it: %s\n", strings.Join(a.Variables, ", "))
	}
	if a.Spec.ForwardAgent {
		plain.Fprintf(news, "it asks for your agent to be forwarded: %s says forward_agent\n", a.from.File)
	}
	if len(a.Extensions) > 0 {
		plain.Fprintf(news, "extensions for an editor in it: %s\n", strings.Join(a.Extensions, ", "))
	}
}

// fits returns an error if the place has another architecture than the template's platform.
func (a asked) fits(ctx context.Context, there *api.Client, place keyway.Place) error {
	if a.Arch == "" {
		return nil
	}
	info, err := there.Info(ctx)
	if err != nil {
		return err
	}
	if other := compat.OtherArch(a.Arch, info.Arch, place); other != nil {
		return other
	}
	return nil
}

// whyLeft returns why a setting was left out, and what to type instead.
func whyLeft(l devcontainer.Left) string {
	if instead := next("", l.Advice, ""); instead != "" {
		return l.Why + "; " + instead
	}
	return l.Why
}

// setupJob is the name of the job that runs a template's setup and keeps its log.
const setupJob = "setup"

// setUp runs the template's setup once, in a workspace that has just been made. It runs as a job,
// so that a lost connection does not end it.
func (a asked) setUp(ctx context.Context, place keyway.Place, name keyway.Name, news io.Writer) error {
	if a.Setup == "" {
		return nil
	}
	fmt.Fprintf(news, "setting up: keyway logs %s/%s has it later\n", place.Of(name), setupJob)
	err := inside{out: news}.run(ctx, string(name), "run", "-T", "--as", setupJob, "--", "sh", "-c", a.Setup)
	var status exitStatus
	if errors.As(err, &status) {
		return a.setupEnded(place, name, status, int(status) > 128 && wasInterrupted(ctx))
	}
	return err
}

// setupEnded returns the error for a setup that failed, or is no longer awaited.
func (a asked) setupEnded(place keyway.Place, name keyway.Name, status exitStatus, left bool) error {
	switch {
	case left:
		return keyway.Errorf(keyway.Interrupted, "%s is up, and its setup goes on", name).
			Hint("see it: keyway logs -f %[1]s/%[2]s\nend it: keyway kill %[1]s/%[2]s", plain.Shell(place.Of(name)), setupJob)
	case status == sshFailed:
		return keyway.Errorf(keyway.Other, "%s is up, but ssh ended with %d before the end of its setup was known", name, int(status)).
			Hint("see whether it runs: keyway ls %[1]s\nsee its output: keyway logs %[1]s/%[2]s", plain.Shell(place.Of(name)), setupJob)
	}
	return keyway.Errorf(keyway.Other, "%s is up, and its setup failed with %d", name, int(status)).
		Hint("see its output: keyway logs %[1]s/%[2]s\nenter it: keyway ssh %[1]s\nor make it again, with the options that you gave: %[3]s",
			plain.Shell(place.Of(name)), setupJob, anew(place, name, a.Spec.Engine, a.from.Name))
}

// anew returns the command that makes a workspace again from its template, in the same engine. It
// omits Docker, the default.
func anew(place keyway.Place, name keyway.Name, engine, template string) string {
	in := onOption(string(place))
	if engine != "" && engine != keyway.EngineDocker {
		in += " --engine " + plain.Shell(engine)
	}
	return fmt.Sprintf("keyway rm %s && keyway up %s%s --name %s", plain.Shell(place.Of(name)), plain.Shell(template), in, plain.Shell(string(name)))
}

// add overrides the values of s by those of the options.
func (o templateOptions) add(s *keyway.Spec) error {
	if o.asMe {
		s.User, s.Caller = "", true
	}
	s.HomeVolume = cmp.Or(o.home, s.HomeVolume)
	for _, text := range o.tmpfs {
		m, err := parseTmpfs(text)
		if err != nil {
			return err
		}
		mountOver(s, m)
	}
	for _, text := range o.devices {
		d, err := keyway.ParseDevice(text)
		if err != nil {
			return err
		}
		s.Devices = append(slices.DeleteFunc(s.Devices, func(other keyway.Device) bool { return other.Target == d.Target }), d)
	}
	for _, text := range o.secrets {
		secret, err := readSecret(text)
		if err != nil {
			return err
		}
		s.Secrets = append(slices.DeleteFunc(s.Secrets, func(other keyway.Secret) bool { return other.Name == secret.Name }), secret)
	}
	for _, text := range o.labels {
		name, value, _ := strings.Cut(text, "=")
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[name] = value
	}
	return nil
}

// mountOver adds a mount in place of one with the same target.
func mountOver(s *keyway.Spec, m keyway.Mount) {
	s.Mounts = append(slices.DeleteFunc(s.Mounts, func(other keyway.Mount) bool { return path.Clean(other.Target) == m.Target }), m)
}

// parseTmpfs parses TARGET[:size=SIZE].
func parseTmpfs(text string) (keyway.Mount, error) {
	target, options, given := strings.Cut(text, ":")
	m := keyway.Mount{Kind: keyway.MountTmpfs, Target: path.Clean(target)}
	size, ok := strings.CutPrefix(options, "size=")
	if given && !ok || !path.IsAbs(target) {
		return m, keyway.Errorf(keyway.Usage, "--tmpfs %s is not TARGET:size=SIZE", text).Hint("for example: --tmpfs /scratch:size=8gb")
	}
	var err error
	m.Size, err = parseSize("--tmpfs", size, "/scratch:size=8gb")
	return m, err
}

// readSecret parses NAME=FILE and reads the file.
func readSecret(text string) (keyway.Secret, error) {
	name, file, ok := strings.Cut(text, "=")
	if !ok {
		return keyway.Secret{}, keyway.Errorf(keyway.Usage, "--secret %s is not NAME=FILE", text).Hint("for example: --secret hf_token=~/.hf_token")
	}
	const most = 64 << 10
	f, err := os.Open(file)
	if err != nil {
		return keyway.Secret{}, keyway.Errorf(keyway.Usage, "--secret %s: %w", name, err).Hint("name a file of this laptop")
	}
	defer f.Close()
	value, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return keyway.Secret{}, keyway.Errorf(keyway.Usage, "--secret %s: %w", name, err).Hint("name a file of this laptop")
	}
	return keyway.Secret{Name: name, Value: value}, nil // Validate checks its size
}

func completeTemplates(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := finder()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	f.AskPlace = func() ([]template.Template, error) { return publishedNow(cmd), nil }
	all, _ := f.List()
	var names []cobra.Completion
	seen := map[string]bool{}
	for _, t := range all {
		if !seen[t.Name] {
			seen[t.Name] = true
			names = append(names, cobra.CompletionWithDesc(plain.Line(t.Name), string(t.Source)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// publishedNow returns the templates of the places that a command would ask, if they are connected:
// completion connects to none.
func publishedNow(cmd *cobra.Command) (all []template.Template) {
	a, err := newApp()
	if err != nil {
		return nil
	}
	var places []keyway.Place
	if on, err := cmd.Flags().GetString("on"); err == nil {
		places = []keyway.Place{keyway.Place(on)}
	} else if on, err := cmd.Flags().GetStringArray("on"); err == nil { // without a place, the command asks all
		places, _ = a.Places(on)
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	for _, place := range places {
		if a.IsUp(ctx, place) {
			more, _ := a.published(ctx, place)
			all = append(all, more...)
		}
	}
	return all
}
