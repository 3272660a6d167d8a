package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"

	"github.com/sekifuda/sekifuda/ops/archive"
	"github.com/sekifuda/sekifuda/ops/place"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// maxFiles bounds the backups of one restore.
const maxFiles = 10_000

// backupNamed are the names of backups: when, of which history, up to which revision. They say it
// to who cannot open them.
var backupNamed = regexp.MustCompile(`^sekifuda-(\d{8}T\d{6}Z)-([0-9a-f]{8})-revisions?-(?:\d+-to-)?(\d+)\.backup$`)

func backupName(h *controlv1.BackupHead) string {
	what := fmt.Sprintf("revision-%d", h.GetRev())
	if h.GetPartial() {
		what = fmt.Sprintf("revisions-%d-to-%d", h.GetBase(), h.GetRev())
	}
	return fmt.Sprintf("sekifuda-%s-%.8s-%s.backup", h.GetMadeAt().AsTime().Format("20060102T150405Z"), h.GetEpoch(), what)
}

// newestNamed tells up to where the newest backup goes; 0: there is none.
func newestNamed(ctx context.Context, at place.Place) (rev uint64, epoch string, err error) {
	names, err := at.Names(ctx)
	if err != nil {
		return 0, "", err
	}
	newest := ""
	for _, name := range names {
		m := backupNamed.FindStringSubmatch(name)
		if m == nil || m[1] < newest {
			continue
		}
		n, err := strconv.ParseUint(m[3], 10, 64)
		if err != nil {
			continue // no name of ours
		}
		if m[1] == newest && m[2] == epoch { // of the same second
			n = max(n, rev)
		}
		newest, epoch, rev = m[1], m[2], n
	}
	return rev, epoch, nil
}

// link is a backup as a chain is made of it.
type link struct {
	name string
	head *controlv1.BackupHead
}

// chain finds the backups of a place that lead to a revision (0: the newest), in their order.
func chain(ctx context.Context, at place.Place, keys []age.Identity, until uint64) ([]string, error) {
	names, err := at.Names(ctx)
	if err != nil {
		return nil, err
	}
	var all []link
	var odd []error
	for _, name := range names {
		if !strings.HasSuffix(name, ".backup") {
			continue
		}
		h, err := headOf(ctx, at, name, keys)
		if err != nil { // others may do without it
			odd = append(odd, fmt.Errorf("%s: %w", at.Path(name), err))
			continue
		}
		all = append(all, link{name, h})
	}
	first := start(all, until)
	if first < 0 {
		if len(all) > 0 && until != 0 {
			odd = append(odd, fmt.Errorf("no backup in %s goes back to revision %d", at.Path(""), until))
		}
		return nil, errors.Join(append([]error{fmt.Errorf("no *.backup in %s that a restore can begin with", at.Path(""))}, odd...)...)
	}
	return follow(all, first, until), nil
}

func headOf(ctx context.Context, at place.Place, name string, keys []age.Identity) (*controlv1.BackupHead, error) {
	r, err := at.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return archive.Head(r, keys)
}

// start is the newest whole backup that is not after until.
func start(all []link, until uint64) int {
	best := -1
	for i, l := range all {
		if l.head.GetPartial() || until != 0 && l.head.GetBase() > until {
			continue
		}
		if best < 0 || l.head.GetMadeAt().AsTime().After(all[best].head.GetMadeAt().AsTime()) {
			best = i
		}
	}
	return best
}

// follow takes, from where the chain ends, the backup that leads furthest.
func follow(all []link, first int, until uint64) []string {
	epoch, at := all[first].head.GetEpoch(), all[first].head.GetRev()
	list := []string{all[first].name}
	for until == 0 || at < until {
		next := slices.MaxFunc(append(all[:len(all):len(all)], link{head: &controlv1.BackupHead{}}), func(a, b link) int {
			return cmp.Compare(a.leads(epoch, at), b.leads(epoch, at))
		})
		if next.leads(epoch, at) == 0 {
			break
		}
		list, at = append(list, next.name), next.head.GetRev()
	}
	return list
}

// leads is how far a backup leads from a revision; 0: nowhere.
func (l link) leads(epoch string, from uint64) uint64 {
	if !l.head.GetPartial() || l.head.GetEpoch() != epoch || l.head.GetBase() > from || l.head.GetRev() <= from {
		return 0
	}
	return l.head.GetRev()
}

// readBackups reads files in their order, or what a folder or bucket has.
func (c *call) readBackups(ctx context.Context, from []string, keys keyFlags, until uint64) (*controlv1.BackupHead, []*controlv1.Entity, error) {
	ids, err := keys.identities(c)
	if err != nil {
		return nil, nil, err
	}
	s := &archive.State{Until: until}
	at, names, err := c.backups(ctx, from, ids, until)
	if err != nil {
		return nil, nil, err
	}
	for i, name := range names {
		if err := addBackup(ctx, s, at[i], name, ids); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", at[i].Path(name), err)
		}
	}
	all, err := s.Entities()
	return s.Head, all, err
}

// backups are the files that are meant, each with its place.
func (c *call) backups(ctx context.Context, from []string, ids []age.Identity, until uint64) (at []place.Place, names []string, err error) {
	for _, text := range from {
		info, err := os.Stat(text)
		if strings.HasPrefix(text, "s3://") && !strings.HasSuffix(text, ".backup") || err == nil && info.IsDir() {
			if len(from) > 1 {
				return nil, nil, fmt.Errorf("%s: name one folder or bucket, or files", text)
			}
			in, err := place.Open(text, c.getenv)
			if err != nil {
				return nil, nil, err
			}
			names, err := chain(ctx, in, ids, until)
			return slices.Repeat([]place.Place{in}, len(names)), names, err
		}
		in, name := place.Place(place.Folder(filepath.Dir(text))), filepath.Base(text)
		if strings.HasPrefix(text, "s3://") {
			cut := strings.LastIndexByte(text, '/')
			name = text[cut+1:]
			if in, err = place.Open(text[:cut], c.getenv); err != nil {
				return nil, nil, err
			}
		}
		at, names = append(at, in), append(names, name)
	}
	return at, names, nil
}

func addBackup(ctx context.Context, s *archive.State, at place.Place, name string, ids []age.Identity) error {
	r, err := at.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	return s.Add(r, ids)
}
