import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const HERE = dirname(fileURLToPath(import.meta.url));
const PAGE = join(HERE, "../src/mobilenets/web/page");

/** Files of the runtimes, which are loaded when they are chosen and are not part of the bundle: where they come from. */
const RUNTIMES: Record<string, readonly string[]> = {
  onnx: [
    "onnxruntime-web/dist/ort.wasm.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  ],
  tflite: [
    "@litertjs/core/wasm/litert_wasm_internal.js",
    "@litertjs/core/wasm/litert_wasm_internal.wasm",
    "@litertjs/core/wasm/litert_wasm_threaded_internal.js",
    "@litertjs/core/wasm/litert_wasm_threaded_internal.wasm",
  ],
};

/** Our own engine, if `scripts/wasm.py` has compiled it. */
const NATIVE = ["engine.wasm", "engine_relaxed.wasm"].map((file) => join(HERE, "wasm", file)).filter((file) => existsSync(file));

function runtimes(): Plugin {
  return {
    name: "runtimes",
    apply: "build",
    closeBundle() {
      const packages = Object.entries(RUNTIMES).map(([name, files]) => [name, files.map((file) => join(HERE, "node_modules", file))] as const);
      for (const [name, files] of [...packages, ["native", NATIVE] as const]) {
        for (const file of files) {
          const to = join(PAGE, "engines", name, basename(file));
          mkdirSync(dirname(to), { recursive: true });
          copyFileSync(file, to);
        }
      }
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [runtimes()],
  worker: { format: "iife" },
  build: {
    outDir: PAGE,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rollupOptions: {
      input: { index: join(HERE, "index.html"), sw: join(HERE, "src/sw.ts") },
      output: { entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
});
