package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/images"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

// volume returns the daemon's name for an owner's volume. Each owner has his own volume of a name.
func (e *Engine) volume(name string) string { return "keyway-" + e.owner + "-" + name }

// volumeMounts returns the mounts of the volumes that a Spec requests, and one for its secrets,
// which is removed with the container and is in no image made from it.
func (e *Engine) volumeMounts(s keyway.Spec) []mount.Mount {
	var mounts []mount.Mount
	add := func(name, target string, readOnly bool) {
		m := mount.Mount{Type: mount.TypeVolume, Target: target, ReadOnly: readOnly}
		if name != "" {
			m.Source = e.volume(name)
			m.VolumeOptions = &mount.VolumeOptions{Labels: map[string]string{labelOwner: e.owner}}
		}
		mounts = append(mounts, m)
	}
	for _, m := range s.Mounts {
		if m.Kind == keyway.MountVolume {
			add(m.Source, m.Target, m.ReadOnly)
		}
	}
	if s.HomeVolume != "" {
		add(s.HomeVolume, s.HomeTarget(), false)
	}
	if len(s.Secrets) > 0 {
		add("", keyway.SecretsDir, false)
	}
	return mounts
}

// tmpfs returns the file systems in memory that a Spec requests, in the daemons' form.
func tmpfs(s keyway.Spec) map[string]string {
	found := map[string]string{}
	for _, m := range s.Mounts {
		if m.Kind != keyway.MountTmpfs {
			continue
		}
		options := "rw,exec,nosuid,nodev,mode=1777"
		if m.ReadOnly {
			options = "ro,nosuid,nodev"
		}
		if m.Size > 0 {
			options += ",size=" + strconv.FormatInt(m.Size, 10)
		}
		found[m.Target] = options
	}
	if s.ReadOnly && !s.Mounted("/tmp") {
		// Nearly every program needs a directory for temporary files, and some execute them.
		found["/tmp"] = "rw,exec,nosuid,nodev,mode=1777"
	}
	return found
}

func devices(r keyway.Resources) []container.DeviceMapping {
	var list []container.DeviceMapping
	for _, d := range r.Devices {
		list = append(list, container.DeviceMapping{PathOnHost: d.Source, PathInContainer: d.Target, CgroupPermissions: d.Access})
	}
	return list
}

// fresh returns the volumes of a Spec that do not exist yet. Once they are made, they are opened to
// the workspace's user. An existing volume belongs to the user that filled it.
func (e *Engine) fresh(ctx context.Context, s keyway.Spec) ([]mount.Mount, error) {
	var all []mount.Mount
	for _, m := range e.volumeMounts(s) {
		if m.Source == "" {
			if m.Target != keyway.SecretsDir {
				all = append(all, m)
			}
			continue
		}
		_, err := e.client.VolumeInspect(ctx, m.Source, client.VolumeInspectOptions{})
		switch {
		case daemon.IsNotFound(err):
			all = append(all, m)
		case err != nil:
			return nil, e.client.Explain(ctx, err)
		}
	}
	return all, nil
}

// names returns the names of volumes in their Spec; those without one have none.
func (e *Engine) names(volumes []mount.Mount) (all []string) {
	for _, m := range volumes {
		if name, ok := strings.CutPrefix(m.Source, e.volume("")); ok {
			all = append(all, name)
		}
	}
	return all
}

// removeFresh removes volumes that were made for a container which is gone. One that another workspace uses
// meanwhile stays.
func (e *Engine) removeFresh(ctx context.Context, fresh []mount.Mount) {
	for _, m := range fresh {
		if m.Source != "" {
			_, _ = e.client.VolumeRemove(ctx, m.Source, client.VolumeRemoveOptions{})
		}
	}
}

// furnishVolumes gives fresh volumes to the workspace's user and puts its secrets in place. A
// volume that the workspace cannot write to is opened through a container that can, because other
// workspaces may.
func (e *Engine) furnishVolumes(ctx context.Context, m made, image images.Facts, fresh []mount.Mount) error {
	uid, gid, known := image.Owner(m.spec.User)
	var open, shut []mount.Mount
	for _, v := range fresh {
		switch {
		case !v.ReadOnly:
			open = append(open, v)
		case v.Source != "": // no other container can have one without a name
			v.ReadOnly = false
			shut = append(shut, v)
		}
	}
	if len(shut) > 0 {
		data, err := volumeArchive(shut, nil, uid, gid, known)
		if err == nil {
			err = e.throughHelper(ctx, m.spec, &container.HostConfig{Mounts: shut}, data)
		}
		if err != nil {
			return err
		}
	}
	if len(open) == 0 && len(m.spec.Secrets) == 0 {
		return nil
	}
	return e.copyIn(ctx, m.id, m.spec, func(s keyway.Spec) ([]byte, error) { return volumeArchive(open, s.Secrets, uid, gid, known) })
}

func volumeArchive(fresh []mount.Mount, secrets []keyway.Secret, uid, gid int, known bool) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	dirMode, fileMode := int64(0o755), int64(0o400)
	if !known { // a name whose uid only the image knows
		dirMode, fileMode = inside.OpenMode, 0o444
	}
	dir := func(name string, mode int64) error {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(name, "/") + "/", Mode: mode, Uid: uid, Gid: gid})
	}
	var err error
	for _, v := range fresh {
		err = errors.Join(err, dir(v.Target, dirMode))
	}
	if len(secrets) > 0 {
		err = errors.Join(err, dir(keyway.SecretsDir, 0o755))
	}
	for _, secret := range secrets {
		name := strings.TrimPrefix(path.Join(keyway.SecretsDir, secret.Name), "/")
		err = errors.Join(err, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: fileMode, Size: int64(len(secret.Value)), Uid: uid, Gid: gid}))
		_, writeErr := w.Write(secret.Value)
		err = errors.Join(err, writeErr)
	}
	return out.Bytes(), errors.Join(err, w.Close())
}

// RemoveVolume implements engine.VolumeKeeper.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	if _, err := e.client.Identify(ctx); err != nil {
		return err
	}
	_, err := e.client.VolumeRemove(ctx, e.volume(name), client.VolumeRemoveOptions{})
	switch {
	case daemon.IsNotFound(err):
		return nil
	case daemon.IsConflict(err):
		return keyway.Errorf(keyway.NameTaken, "the volume %s is in use by another workspace, and stays", name).
			Advise(keyway.RemoveFirst)
	}
	return e.client.Explain(ctx, err)
}
