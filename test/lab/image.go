//go:build linux

package lab

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Image is one of the images that the lab can make without a registry.
type Image string

// The images. Each gets what those it is made from need.
const (
	// Base is a small Linux made of this machine's own files: a shell, the usual
	// tools, Python, git, rsync and an ssh client, no sshd, no tmux.
	Base Image = "keyway-lab/base"
	// NonRoot is Base with user 1000.
	NonRoot Image = "keyway-lab/nonroot"
	// Static holds one static program and nothing else.
	Static Image = "keyway-lab/static"
	// Busybox holds busybox and its names in /bin.
	Busybox Image = "keyway-lab/busybox"
	// Shells is Base with other shells, and with users who have the name of their login
	// shell. The shells' start files print.
	Shells Image = "keyway-lab/shells"
	// SSHD is Base with the OpenSSH server, as people bake it into images.
	SSHD Image = "keyway-lab/sshd"
	// Torch is Base with Debian's PyTorch.
	Torch Image = "keyway-lab/torch"
)

// ImagePath is the first directory of Base's PATH, with a program greet in it.
const ImagePath = "/opt/tool/bin"

// makeImages makes images with the GPU machine's docker.
func (l *Lab) makeImages(ctx context.Context, images []Image) error {
	if slices.ContainsFunc(images, func(i Image) bool { return i == NonRoot || i == SSHD || i == Shells || i == Torch }) {
		images = append([]Image{Base}, images...)
	}
	for _, i := range images {
		if slices.Contains(l.images, i) {
			continue
		}
		l.images = append(l.images, i)
		begin := time.Now()
		if err := l.makeImage(i); err != nil {
			return fmt.Errorf("image %s: %w", i, err)
		}
		l.say("image %s made in %.1f s", i, time.Since(begin).Seconds())
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// removeImages removes them, and containers made from them, from a dockerd that
// is not ours.
func (l *Lab) removeImages() error {
	var err error
	for _, i := range slices.Backward(l.images) {
		ids, psErr := l.Docker("ps", "-aq", "--filter", "ancestor="+string(i))
		if ids != "" {
			_, rmErr := l.Docker(append([]string{"rm", "-f"}, strings.Fields(ids)...)...)
			err = errors.Join(err, rmErr)
		}
		_, rmErr := l.Docker("image", "rm", string(i))
		err = errors.Join(err, psErr, rmErr)
	}
	return err
}

func (l *Lab) makeImage(i Image) error {
	switch i {
	case Base:
		return l.importImage(i, writeBase, "ENV PATH="+ImagePath+":"+path, "ENV LD_LIBRARY_PATH=/opt/tool/lib", "ENV LAB_IMAGE=base", "ENV LANG=C.UTF-8", `CMD ["bash"]`)
	case NonRoot:
		return l.derive(i, Base, nil, "USER 1000:1000", "WORKDIR /home/dev")
	case Static:
		return l.importImage(i, func(w *tar.Writer) error { return (&rootfs{tar: w}).copyAs(l.tool(), "/labtool") }, `CMD ["/labtool", "wait"]`)
	case Busybox:
		return l.importImage(i, writeBusybox, "ENV PATH=/bin", `CMD ["sh"]`)
	case Shells:
		return l.derive(i, Base, writeShells, `CMD ["bash"]`)
	case Torch:
		return l.derive(i, Base, writeTorch, `CMD ["bash"]`)
	case SSHD:
		return l.derive(i, Base, writeSSHD, `CMD ["/usr/sbin/sshd", "-D", "-e"]`)
	}
	return fmt.Errorf("unknown image")
}

// importImage makes an image from the files that write writes.
func (l *Lab) importImage(i Image, write func(*tar.Writer) error, changes ...string) error {
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	return l.pipeTar(write, append(args, "-", string(i))...)
}

// derive makes an image from another one, with more files and other settings.
func (l *Lab) derive(i, from Image, write func(*tar.Writer) error, changes ...string) error {
	id, err := l.Docker("create", string(from))
	if err != nil {
		return err
	}
	if write != nil {
		if err := l.pipeTar(write, "cp", "-", id+":/"); err != nil {
			return err
		}
	}
	args := []string{"commit"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	if _, err := l.Docker(append(args, id, string(i))...); err != nil {
		return err
	}
	_, err = l.Docker("rm", id)
	return err
}

// pipeTar runs docker with an archive as its standard input.
func (l *Lab) pipeTar(write func(*tar.Writer) error, args ...string) error {
	r, w := io.Pipe()
	var out strings.Builder
	cmd := l.GPU.Command("docker", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
		written <- err
	}()
	err := cmd.Wait()
	r.CloseWithError(io.ErrClosedPipe)
	if writeErr := <-written; writeErr != nil {
		return writeErr
	}
	if err != nil {
		return fmt.Errorf("docker %s: %w: %s", args[0], err, out.String())
	}
	return nil
}
