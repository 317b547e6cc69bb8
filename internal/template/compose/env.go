package compose

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"keyway/internal/keyway"
	"keyway/internal/template/variables"
)

// Bounds on files beside a template.
const (
	maxEnvFile = 1 << 20
	maxSecret  = 64 << 10
)

// environment holds the values for a template's variables.
type environment struct {
	dir  string // of the file; empty for a built-in template, which has no files beside it
	home string // the user's home directory, for ~
	// confined permits reading only below dir.
	confined bool
	lookup   func(string) (string, bool)
	fault    *error // of the first variable without a value that was looked up
}

// dotEnv returns e with the variables of the .env file beside the template. The laptop's own
// variables take precedence, as with Compose. A variable of the file without a value is an error
// only if it is looked up, since the file may also be for other programs.
func (e environment) dotEnv() (environment, error) {
	if e.dir == "" {
		return e, nil
	}
	path := filepath.Join(e.dir, ".env")
	set, unset, err := e.readVariables(".env", e.lookup, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return e, keyway.Errorf(keyway.BadConfig, "%s: %w", path, err).Hint("it has lines of the form NAME=VALUE")
	}
	outer := e.lookup
	e.lookup = func(name string) (string, bool) {
		if v, ok := outer(name); ok {
			return v, true
		}
		if err := unset[name]; err != nil && *e.fault == nil {
			*e.fault = keyway.Errorf(keyway.BadConfig, "%s: %w", path, err).Hint("put a value with a $ into quotes: %s='…'", name)
		}
		v, ok := set[name]
		return v, ok
	}
	return e, nil
}

// readVariables reads a file of NAME=VALUE lines. unset holds an error for each variable whose
// value could not be filled in.
func (e environment) readVariables(name string, lookup func(string) (string, bool), before map[string]string) (set map[string]string, unset map[string]error, err error) {
	data, err := e.readFile(name, maxEnvFile)
	if err != nil {
		return nil, nil, err
	}
	return variables.Parse(string(data), lookup, before)
}

// errOutside is the error for a template that requests a file outside its directory.
var errOutside = errors.New("a template of a repository reads files below its own directory only, because what it reads goes to the place")

// readFile reads a regular file that the template names, of at most limit bytes. A user who
// clones a repository and runs keyway up has not read its template, which could name a private
// key as a secret. So the template is confined to its directory, even through symbolic links.
func (e environment) readFile(name string, limit int64) ([]byte, error) {
	f, err := e.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > limit {
		return nil, fmt.Errorf("it is no file of at most %d KiB", limit>>10)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func (e environment) open(name string) (*os.File, error) {
	if !e.confined {
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			return openAtOnce(filepath.Join(e.home, rest))
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(e.dir, name)
		}
		return openAtOnce(name)
	}
	if filepath.IsAbs(name) || !filepath.IsLocal(name) || strings.HasPrefix(name, "~") {
		return nil, errOutside
	}
	root, err := os.OpenRoot(e.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	st, err := root.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errOutside // a symbolic link leads out
	}
	if err == nil && !st.Mode().IsRegular() {
		return nil, errors.New("it is no file") // opening a FIFO would block
	}
	return root.Open(name)
}

// openAtOnce opens a file without blocking, as a named pipe without a writer would.
func openAtOnce(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// environment converts env_file and environment; the latter takes precedence. A variable without
// a value gets the laptop's, or is taken away.
func (c converter) environment(s *keyway.Spec) error {
	env := map[string]string{}
	for _, f := range c.service.EnvFiles {
		if f.Format != "" {
			return c.errorf("env_file", "the format %.40q is not known", f.Format).Hint("leave format out")
		}
		set, unset, err := c.env.readVariables(f.Path, func(name string) (string, bool) {
			if v, ok := c.env.lookup(name); ok {
				return v, true
			}
			v := c.service.Environment[name]
			return *cmp.Or(v, new(string)), v != nil
		}, env)
		if errors.Is(err, fs.ErrNotExist) && !bool(f.Required) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(unset)) {
			err = cmp.Or(err, unset[name])
		}
		if err != nil {
			return c.errorf("env_file", "%s cannot be read: %v", f.Path, err).Hint("it lies beside %s, on this laptop", c.File)
		}
		env = set
	}
	for _, name := range slices.Sorted(maps.Keys(c.service.Environment)) {
		value := c.service.Environment[name]
		switch v, ok := c.env.lookup(name); {
		case value != nil:
			env[name] = *value
		case ok:
			env[name] = v
		default: // nor does the workspace have the image's, as with Compose
			delete(env, name)
			s.Unset = append(s.Unset, name)
		}
	}
	if len(env) > 0 {
		s.Env = env
	}
	return nil
}

// secrets converts secrets: files or variables of the laptop that only the workspace's user may
// read.
func (c converter) secrets(s *keyway.Spec) error {
	for _, ref := range c.service.Secrets {
		declared, ok := c.service.secrets[ref.Source]
		if !ok {
			return c.errorf("secrets", "there is no secret %.80q below the file's secrets", ref.Source).
				Hint("add it: secrets: {%s: {file: PATH}}", ref.Source)
		}
		if declared.File != "" && declared.Environment != "" {
			return c.errorf("secrets", "%s is a file and a variable", ref.Source).Hint("keep one of the two")
		}
		value, err := c.secret(declared.File, declared.Environment)
		if err != nil {
			return c.errorf("secrets", "%s: %v", ref.Source, err).Hint("a secret is a file of this laptop (file: PATH), or a variable (environment: NAME)")
		}
		name := strings.TrimPrefix(cmp.Or(ref.Target, ref.Source), keyway.SecretsDir+"/")
		extended := func(other keyway.Secret) bool { return other.Name == name }
		s.Secrets = append(slices.DeleteFunc(s.Secrets, extended), keyway.Secret{Name: name, Value: value})
	}
	return nil
}

func (c converter) secret(file, variable string) ([]byte, error) {
	switch {
	case variable != "":
		v, ok := c.env.lookup(variable)
		if !ok {
			return nil, variables.UnsetError{Name: variable}
		}
		if len(v) > maxSecret {
			return nil, fmt.Errorf("the variable %s has over %d KiB", variable, maxSecret>>10)
		}
		return []byte(v), nil
	case file != "":
		return c.env.readFile(file, maxSecret)
	}
	return nil, errors.New("it has neither a file nor a variable")
}
