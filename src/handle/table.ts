/** Every request, of clients and of the operator: who may make it, and its handler. */
import { handleDelete, handleLanguage, handleRegister } from './account.js'
import { ADMIN_ACTS } from './admin/index.js'
import type { Asked, AskedName, Handler, LoggedIn, RequestAccess } from './context.js'
import { handleLogin } from './login.js'
import {
  handleLogout,
  handleMint,
  handleMintAppPassword,
  handlePassword,
  handleRefresh,
  handleRevoke,
  handleSessions,
} from './logins.js'
import {
  handleChangeEmail,
  handleRequestPasswordReset,
  handleResendVerification,
  handleResetPassword,
  handleUndoEmail,
  handleVerifyEmail,
} from './mail/index.js'
import {
  broadcastAccess,
  filesAccess,
  handleAck,
  handleBroadcast,
  handleFileLink,
  handleFiles,
  handleHistory,
  handleInbox,
  handleMessage,
  handleRemoveFile,
  handleUploadSlot,
} from './messages.js'
import {
  handleAddPasskey,
  handleAskPasskey,
  handleBeginPasskey,
  handlePasskeys,
  handleRemovePasskey,
} from './passkeys.js'
import { handleProfile } from './profile.js'
import { handleQuery, queryAccess } from './query.js'
import {
  handleBeginSecondFactor,
  handleConfirmSecondFactor,
  handleRemoveSecondFactor,
  handleRenewRecoveryCodes,
  handleSecondFactor,
} from './second-factor.js'
import type { HandlerRules } from './services.js'

/** The access to a request, or how the config and the request decide it. */
type Rule<A extends RequestAccess, D> = A | ((rules: HandlerRules, data: D) => A)

interface Traits {
  /** A login by a device's credential may not make it. Of what only owners may, that need not be said. */
  readonly notForDevices?: true
  /** It changes nothing: it is not run for a client that has left. */
  readonly isReadOnly?: true
}

export type Entry<D> = Traits &
  (
    | { readonly access: Rule<'anyone' | 'user' | 'operator', D>; readonly run: Handler<D> }
    | {
        readonly access: Rule<Exclude<RequestAccess, 'anyone' | 'operator'>, D>
        readonly run: Handler<D, LoggedIn>
      }
  )

type Table = { readonly [N in AskedName]: Entry<Extract<Asked, { name: N }>['data']> }

export const TABLE: Table = {
  register: { access: 'anyone', run: handleRegister },
  login: { access: 'anyone', run: handleLogin, notForDevices: true },
  refresh: { access: 'anyone', run: handleRefresh, notForDevices: true },
  query: { access: queryAccess, run: handleQuery, isReadOnly: true },
  message: { access: 'user', run: handleMessage },
  broadcast: { access: broadcastAccess, run: handleBroadcast },
  history: { access: 'user', run: handleHistory, isReadOnly: true },
  uploadSlot: { access: filesAccess, run: handleUploadSlot },
  fileLink: { access: filesAccess, run: handleFileLink, isReadOnly: true },
  files: { access: filesAccess, run: handleFiles, isReadOnly: true, notForDevices: true },
  removeFile: { access: filesAccess, run: handleRemoveFile, notForDevices: true },
  ack: { access: 'user', run: handleAck },
  inbox: { access: 'user', run: handleInbox, isReadOnly: true },
  logout: { access: 'user', run: handleLogout },
  requestPasswordReset: { access: 'anyone', run: handleRequestPasswordReset, notForDevices: true },
  resetPassword: { access: 'anyone', run: handleResetPassword, notForDevices: true },
  resendVerification: { access: 'anyone', run: handleResendVerification, notForDevices: true },
  verifyEmail: { access: 'anyone', run: handleVerifyEmail, notForDevices: true },
  changeEmail: { access: 'owner', run: handleChangeEmail },
  undoEmail: { access: 'anyone', run: handleUndoEmail, notForDevices: true },
  profile: { access: 'owner', run: handleProfile },
  language: { access: 'owner', run: handleLanguage },
  delete: { access: 'owner', run: handleDelete },
  sessions: { access: 'owner', run: handleSessions, isReadOnly: true },
  revoke: { access: 'owner', run: handleRevoke },
  mint: { access: 'owner', run: handleMint },
  secondFactor: { access: 'owner', run: handleSecondFactor, isReadOnly: true },
  beginSecondFactor: { access: 'anyone', run: handleBeginSecondFactor, notForDevices: true },
  confirmSecondFactor: { access: 'anyone', run: handleConfirmSecondFactor, notForDevices: true },
  renewRecoveryCodes: { access: 'anyone', run: handleRenewRecoveryCodes, notForDevices: true },
  removeSecondFactor: { access: 'anyone', run: handleRemoveSecondFactor, notForDevices: true },
  passkeys: { access: 'owner', run: handlePasskeys, isReadOnly: true },
  beginPasskey: { access: 'anyone', run: handleBeginPasskey, notForDevices: true },
  addPasskey: { access: 'anyone', run: handleAddPasskey, notForDevices: true },
  removePasskey: { access: 'anyone', run: handleRemovePasskey, notForDevices: true },
  askPasskey: { access: 'anyone', run: handleAskPasskey, isReadOnly: true },
  mintAppPassword: { access: 'anyone', run: handleMintAppPassword, notForDevices: true },
  password: { access: 'owner', run: handlePassword },
  ...ADMIN_ACTS,
}
