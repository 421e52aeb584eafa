/** The host of tests that need files or a store in a file: Node's own, without the plugins. */
import { NodeCrypto, NodeFileSystem, NodePath, NodeStdio } from "@effect/platform-node"
import { type Flow, Pricing, Store } from "@pipe/core"
import { Layer } from "effect"

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, NodeStdio.layer, NodeCrypto.layerDigest)

/** A store in a file. */
export const layer = ({ store }: { readonly store: string }): Layer.Layer<Flow.Host, Store.StoreError> =>
  withStore(Store.layer(store))

/** A store in memory. */
export const layerMemory: Layer.Layer<Flow.Host> = Layer.suspend(() => withStore(Store.layerMemory))

/** A store in a file that exists. */
export const existingStore = (file: string): Layer.Layer<Store.Store, Store.StoreError> =>
  Layer.provide(Store.layerExisting(file), platform)

const withStore = <E>(store: Layer.Layer<Store.Store, E, Layer.Success<typeof platform>>): Layer.Layer<Flow.Host, E> =>
  Layer.mergeAll(Pricing.layer().pipe(Layer.orDie), Store.layerCache.pipe(Layer.provideMerge(store))).pipe(
    Layer.provideMerge(platform)
  )
