package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/installed"
	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	sftp "keyway/internal/sftp/client"
)

// Bounds on looking into a container, whose programs may answer anything.
const (
	// surveyTime is how long one container may take.
	surveyTime = 30 * time.Second
	// maxSaidFiles is how much it may say of its files in all, in bytes. The names of a
	// large image's packages and dpkg's status take 4 MB.
	maxSaidFiles = 256 << 20
	// maxHashed is how large a file may be whose content is compared; of larger ones it
	// is the size.
	maxHashed = 16 << 20
	surveyors = 8 // containers that are looked into at once
)

// Environments tells what the workspaces consist of, in that order; see
// keyway.Environment.
func (e *Engine) Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error) {
	if _, err := e.client.Identify(ctx); err != nil {
		return nil, err
	}
	said, err := e.client.Said(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]keyway.Environment, len(names))
	free := make(chan struct{}, surveyors)
	var looking sync.WaitGroup
	for i, name := range names {
		free <- struct{}{}
		looking.Go(func() {
			defer func() { <-free }()
			timed, cancel := context.WithTimeout(ctx, surveyTime)
			defer cancel()
			env, err := e.environment(timed, name, said)
			if err != nil && timed.Err() != nil && ctx.Err() == nil {
				err = keyway.Errorf(keyway.GuestFailed, "%s does not show its files within %v", name, surveyTime).Advise(keyway.MakeAnew, string(name))
			}
			env.Name, env.Error = name, keyway.AsError(err)
			all[i] = env
		})
	}
	looking.Wait()
	return all, ctx.Err()
}

func (e *Engine) environment(ctx context.Context, name keyway.Name, host system.Info) (keyway.Environment, error) {
	m, st, err := e.find(ctx, name)
	if err != nil {
		return keyway.Environment{}, err
	}
	if m.rec.Adopted {
		return keyway.Environment{}, keyway.Errorf(keyway.Usage, "%s was adopted: what its container was asked to have is not known here", name).
			Advise(keyway.MakeAnew, string(name))
	}
	if !st.Running || st.Paused {
		return keyway.Environment{}, notRunning(m, st)
	}
	c, err := e.client.ContainerInspect(ctx, m.id, client.ContainerInspectOptions{})
	if err != nil {
		return keyway.Environment{}, e.client.Explain(ctx, err)
	}
	if c.Container.Config == nil {
		return keyway.Environment{}, keyway.Errorf(keyway.Other, "the daemon says too little of the container %s", c.Container.Name)
	}
	d := e.client.Known()
	if d.Rootless, err = e.client.Rootless(ctx, d, host); err != nil {
		return keyway.Environment{}, e.client.Explain(ctx, err)
	}
	env := asked(m.spec, host, d)
	env.Engine, env.Guest, env.GPUs = e.Name(), c.Container.Config.Labels[labelVersion], m.gpus
	if env.Image, env.Arch, err = e.Identity(ctx, m.spec.Image, m.image); err != nil {
		return env, err
	}
	return env, e.survey(ctx, m, c.Container.Config.Env, &env)
}

// asked is what a workspace was asked to have. The daemon has made the container by it,
// and nothing in the container changes that.
func asked(s keyway.Spec, host system.Info, d daemon.Identity) keyway.Environment {
	env := s.Environment()
	if s.Template != "" && s.ShmSize == defaultShm(host.MemTotal, s.Memory) {
		env.Shm = 0 // what the template left to the place
	}
	if s.User != "" && s.User == caller(d, os.Getuid(), os.Getgid()) {
		env.User = keyway.UserCaller
	}
	return env
}

// survey looks at the container's files, through its guest.
func (e *Engine) survey(ctx context.Context, m made, variables []string, env *keyway.Environment) error {
	changes, err := e.client.ContainerDiff(ctx, m.id, client.ContainerDiffOptions{})
	if err != nil {
		return e.client.Explain(ctx, err)
	}
	conn, _, err := e.in(m).Start(ctx, "files")
	if err != nil {
		return e.dialFailed(ctx, m.spec.Name, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	files, err := sftp.New(conn, maxSaidFiles)
	if err == nil {
		env.Software, err = installed.Read(files, where(variables))
	}
	if err != nil {
		return keyway.Errorf(keyway.GuestFailed, "%s does not show its files: %w", m.spec.Name, err).
			Advise(keyway.MakeAnew, string(m.spec.Name))
	}
	changed := notable(changes.Changes)
	env.MoreFiles = max(len(changed)-keyway.MaxFileChanges, 0)
	for _, c := range changed[:len(changed)-env.MoreFiles] {
		if c.Change != keyway.ChangeDeleted {
			st, err := files.Lstat(strings.TrimPrefix(c.Path, "/"))
			if err == nil && st.IsDir() {
				continue // what is in it is listed itself
			}
			c.Hash = contentHash(files, st, strings.TrimPrefix(c.Path, "/"))
		}
		env.Files = append(env.Files, c)
	}
	return ctx.Err()
}

// where is where programs of a container look for what is installed.
func where(variables []string) installed.Where {
	env := map[string]string{}
	for _, kv := range variables {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return installed.Where{Path: env["PATH"], PythonPath: env["PYTHONPATH"], Home: env["HOME"]}
}

// contentHash is one of what a file holds: of a large file, and of what is no file, of
// its size and kind.
func contentHash(files fs.FS, st fs.FileInfo, name string) string {
	if st == nil {
		return ""
	}
	h := sha256.New()
	data, err := installed.ReadFile(files, name, maxHashed)
	if err != nil || !st.Mode().IsRegular() {
		fmt.Fprint(h, st.Mode().Type(), st.Size())
	} else {
		_, _ = h.Write(data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// maxChanges bounds how many changes of a container are looked at.
const maxChanges = 1 << 20

// notable are the files of the image that were changed or removed, and the added ones
// that change what the others do, sorted by path. What a run makes is not: what it
// writes, downloads, caches and compiles.
func notable(changes []container.FilesystemChange) []keyway.FileChange {
	changes = changes[:min(len(changes), maxChanges)]
	parents := map[string]bool{} // a directory is listed because of what is in it
	for _, c := range changes {
		parents[path.Dir(c.Path)] = true
	}
	all := map[string]keyway.FileChange{}
	for _, c := range changes {
		if parents[c.Path] && c.Kind != container.ChangeDelete || !path.IsAbs(c.Path) || passing(c.Path) {
			continue
		}
		change := keyway.FileChange{Path: path.Clean(c.Path)}
		switch c.Kind {
		case container.ChangeModify:
			change.Change = keyway.ChangeModified
		case container.ChangeDelete:
			change.Change = keyway.ChangeDeleted
		default:
			if change.Change = keyway.ChangeAdded; !decisive.MatchString(c.Path) {
				continue
			}
		}
		all[change.Path] = change
	}
	sorted := make([]keyway.FileChange, 0, len(all))
	for _, p := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, all[p])
	}
	return sorted
}

// decisive are files that decide what programs load: an added one is as good as a
// change of all that it concerns.
var decisive = lazyregexp.New(`^/etc/(ld\.so\.(preload|conf)|ld\.so\.conf\.d/.+|pip\.conf|environment)$` +
	`|/(site|dist)-packages/([^/]+\.pth|(site|user)customize\.py)$`)

// passing reports whether a file holds what comes and goes while programs run.
func passing(p string) bool {
	for _, dir := range []string{"/tmp", "/var", "/run", "/dev", "/proc", "/sys", "/mnt", "/media", string(keyway.GuestHome)} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return comesAndGoes.MatchString(p)
}

// comesAndGoes are caches, histories and logs, compiled Python, and what is made anew
// at each start or from other files.
var comesAndGoes = lazyregexp.New(`(^|/)(__pycache__|\.cache|\.nv|\.triton|\.ipython|\.jupyter|\.config|\.local/share)(/|$)` +
	`|\.py[co]$|(^|/)\.[A-Za-z_]*(history|hsts|lesshst|viminfo)$|\.log$` +
	`|^/etc/(hosts|hostname|resolv\.conf|mtab|ld\.so\.cache|machine-id|passwd-?|group-?|shadow-?|gshadow-?|\.pwd\.lock)$`)
