# The optional addon. Not at the package's root: there npm would compile it on every install.
# scripts/build-native.mjs drives it; `node-gyp rebuild -C src/native` and prebuildify --cwd src/native work alone.
#
# Three sets of flags, so three archives: the peers as a user would compile them, the AVX-512 one behind its own
# run-time check, and the imitations of kernel code without vector units, as a kernel is built.
{
  'variables': {
    'abi_dir': '<(SHARED_INTERMEDIATE_DIR)/daxmirror',
  },
  'target_defaults': {
    'include_dirs': ['<(abi_dir)', '.', "<!(node -p \"require('node-addon-api').include_dir\")"],
    'defines': ['NAPI_VERSION=9'],
    'cflags': ['-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra', '-Wno-unused-parameter'],
    'cflags_cc': ['-std=gnu++17'],
  },
  'targets': [
    {
      'target_name': 'abi',
      'type': 'none',
      'actions': [{
        'action_name': 'abi_header',
        'inputs': ['abi-header.mjs', '../abi.ts'],
        'outputs': ['<(abi_dir)/abi.h'],
        'action': ['node', 'abi-header.mjs', '../abi.ts', '<@(_outputs)'],
      }],
    },
    {
      'target_name': 'peers',
      'type': 'static_library',
      'dependencies': ['abi'],
      'hard_dependency': 1,
      'sources': ['peers/plain.cc', 'peers/autovec.cc', 'peers/translate.cc'],
      'cflags': ['-O3'],
      'conditions': [['target_arch=="x64"', {
        'sources': ['peers/avx2.cc'],
        'cflags': ['-march=x86-64-v3'],
      }]],
    },
    {
      'target_name': 'kernel_like',
      'type': 'static_library',
      'dependencies': ['abi'],
      'hard_dependency': 1,
      'sources': ['peers/hmm2019.cc', 'peers/mainline.cc'],
      'cflags!': ['-O3'],
      'cflags': ['-O2', '-fno-tree-vectorize'],
    },
    {
      'target_name': 'daxmirror',
      'dependencies': ['abi', 'peers', 'kernel_like'],
      'sources': ['addon.cc', 'args.cc', 'mapping.cc', 'sigbus.cc', 'flush.cc', 'host.cc', 'guest.cc', 'peers.cc'],
      'cflags!': ['-fno-exceptions'],
      'cflags_cc!': ['-fno-exceptions'],
      'defines': ['NAPI_CPP_EXCEPTIONS'],
      # A signal handler must stay where it is when the last Worker that loaded the addon ends.
      'ldflags': ['-Wl,-z,nodelete'],
      'conditions': [['target_arch=="x64"', { 'dependencies': ['peers_v4'] }]],
    },
  ],
  'conditions': [['target_arch=="x64"', {
    'targets': [{
      'target_name': 'peers_v4',
      'type': 'static_library',
      'dependencies': ['abi'],
      'hard_dependency': 1,
      'sources': ['peers/avx512.cc'],
      # gcc 12 takes the undefined operand in its own AVX-512 intrinsics for a slip of ours.
      'cflags': ['-O3', '-march=x86-64-v4', '-Wno-maybe-uninitialized', '-Wno-uninitialized'],
    }],
  }]],
}
