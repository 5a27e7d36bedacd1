/** Requests that have to do with letters. */
export { handleChangeEmail, handleResendVerification, handleUndoEmail, handleVerifyEmail } from './address.js'
export { handleRequestPasswordReset, handleResetPassword } from './recovery.js'
