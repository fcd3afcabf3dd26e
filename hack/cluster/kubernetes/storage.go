package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// The storage provisioner: each claim of the default class gets a directory of its own as a `local` volume.
//
// The provisioner built into kube-controller-manager is not used: it makes hostPath volumes in directories of mode 0750 that
// belong to root, and fsGroup does nothing to a hostPath, so that a pod which does not run as root cannot write its volume.
// `local` volumes honour fsGroup.
const (
	provisionerName       = "agentsessions.dev/local-directory"
	provisionerAnnotation = "volume.kubernetes.io/storage-provisioner"
	selectedNode          = "volume.kubernetes.io/selected-node"
	provisionedBy         = "pv.kubernetes.io/provisioned-by"
	resync                = 30 * time.Second
)

type provisioner struct {
	client kubernetes.Interface
	root   string
	node   string
	claims cache.SharedIndexInformer
	pvs    cache.SharedIndexInformer
	queue  workqueue.TypedRateLimitingInterface[task]
}

// task names one object to look at; kind is "claim" or "volume".
type task struct{ kind, key string }

func runStorage() int {
	flags := flag.NewFlagSet("storage", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	root := flags.String("directory", "", "where the volumes' directories are made")
	node := flags.String("node", "", "the node that has this directory")
	_ = flags.Parse(os.Args[1:])
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storage:", err)
		return 1
	}
	config.QPS, config.Burst = 100, 200
	client := kubernetes.NewForConfigOrDie(config)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	newProvisioner(client, *root, *node).run(ctx)
	return 0
}

func newProvisioner(client kubernetes.Interface, root, node string) *provisioner {
	factory := informers.NewSharedInformerFactory(client, resync)
	p := &provisioner{
		client: client, root: root, node: node,
		claims: factory.Core().V1().PersistentVolumeClaims().Informer(),
		pvs:    factory.Core().V1().PersistentVolumes().Informer(),
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[task]()),
	}
	p.feed(p.claims, "claim")
	p.feed(p.pvs, "volume")
	return p
}

func (p *provisioner) feed(informer cache.SharedIndexInformer, kind string) {
	add := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			p.queue.Add(task{kind, key})
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, object any) { add(object) },
	})
}

func (p *provisioner) run(ctx context.Context) {
	go p.claims.Run(ctx.Done())
	go p.pvs.Run(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), p.claims.HasSynced, p.pvs.HasSynced) {
		return
	}
	go func() { <-ctx.Done(); p.queue.ShutDown() }()
	for p.step(ctx) {
	}
}

func (p *provisioner) step(ctx context.Context) bool {
	next, stopped := p.queue.Get()
	if stopped {
		return false
	}
	defer p.queue.Done(next)
	if err := p.handle(ctx, next); err != nil {
		fmt.Fprintf(os.Stderr, "storage: %s %s: %v\n", next.kind, next.key, err)
		p.queue.AddRateLimited(next)
		return true
	}
	p.queue.Forget(next)
	return true
}

func (p *provisioner) handle(ctx context.Context, next task) error {
	if next.kind == "claim" {
		object, found, err := p.claims.GetStore().GetByKey(next.key)
		if err != nil || !found {
			return err
		}
		return p.provision(ctx, object.(*core.PersistentVolumeClaim))
	}
	object, found, err := p.pvs.GetStore().GetByKey(next.key)
	if err != nil || !found {
		return err
	}
	return p.reclaim(ctx, object.(*core.PersistentVolume))
}

// provision answers a claim once the volume controller has handed it to us, which it does only after a node was selected.
func (p *provisioner) provision(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Annotations[provisionerAnnotation] != provisionerName {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	directory := filepath.Join(p.root, name)
	if err := os.MkdirAll(directory, 0o777); err != nil {
		return err
	}
	// 0777 against the umask: a pod without fsGroup may run as any user. Nobody else reaches it: the root is mode 0700.
	if err := os.Chmod(directory, 0o777); err != nil {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, p.volume(name, directory, claim), meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) volume(name, directory string, claim *core.PersistentVolumeClaim) *core.PersistentVolume {
	node := claim.Annotations[selectedNode]
	if node == "" {
		node = p.node
	}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerName}},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: directory}},
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
				MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{node},
				}},
			}}}},
		},
	}
}

// reclaim removes the directory of a volume whose claim is gone, then the volume.
func (p *provisioner) reclaim(ctx context.Context, volume *core.PersistentVolume) error {
	ours := volume.Annotations[provisionedBy] == provisionerName && volume.Spec.Local != nil
	if !ours || volume.Status.Phase != core.VolumeReleased || volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	directory := filepath.Join(p.root, volume.Name)
	if volume.Spec.Local.Path != directory {
		return fmt.Errorf("refusing to delete %q: not a directory of this provisioner", volume.Spec.Local.Path)
	}
	if err := os.RemoveAll(directory); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}
